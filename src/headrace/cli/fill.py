"""``headrace fill``: words for the masks in the lines of a file."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.classify import ThresholdFlag
from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

TopKFlag = Annotated[int, typer.Option("--top-k", min=1, max=64, help="How many words of each mask, the best first.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FillArguments(TextArguments):
    """What ``headrace fill`` is called with."""

    top_k: TopKFlag = 5
    threshold: ThresholdFlag = None


@with_settings("engine", "store", "limits")
def fill(loaded: LoadedSettings, asked: FillArguments) -> None:
    """Find words for the masks in the lines of a file; prints one JSON object for each: index, masks, and so on."""
    options = Options(truncate=asked.truncate, top_k=asked.top_k, threshold=asked.threshold)
    answer_file(loaded, asked, "fill", options)
