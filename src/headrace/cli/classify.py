"""``headrace classify``: labels of the lines of a file."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

TopKFlag = Annotated[int | None, typer.Option("--top-k", min=1, help="How many labels, the best first; default: all.")]
ThresholdFlag = Annotated[
    float | None, typer.Option("--threshold", help="Leave out labels with a lower score; default: none.")
]
RawFlag = Annotated[bool, typer.Option("--raw", help="Scores as the model gives them instead of probabilities.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyArguments(TextArguments):
    """What ``headrace classify`` is called with."""

    top_k: TopKFlag = None
    threshold: ThresholdFlag = None
    raw: RawFlag = False


@with_settings("engine", "store", "limits")
def classify(loaded: LoadedSettings, asked: ClassifyArguments) -> None:
    """Classify the lines of a file; prints one JSON object for each: index, labels, tokens, truncated, windows."""
    options = Options(truncate=asked.truncate, top_k=asked.top_k, threshold=asked.threshold, raw=asked.raw)
    answer_file(loaded, asked, "classify", options)
