"""``headrace extract``: entities in the lines of a file."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Aggregation, Options
from headrace.settings import LoadedSettings

AggregationFlag = Annotated[
    Aggregation,
    typer.Option(
        "--aggregation",
        help="How tokens become spans: neighbours of one label (simple), words by their first token, the mean or the"
        " surest of them, or each token alone (none).",
    ),
]
ThresholdFlag = Annotated[
    float | None, typer.Option("--threshold", help="Leave out entities with a lower score; default: none.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractArguments(TextArguments):
    """What ``headrace extract`` is called with."""

    aggregation: AggregationFlag = "simple"
    threshold: ThresholdFlag = None


@with_settings("engine", "store", "limits")
def extract(loaded: LoadedSettings, asked: ExtractArguments) -> None:
    """Find entities in the lines of a file; prints one JSON object for each: index, entities, tokens, and so on."""
    options = Options(truncate=asked.truncate, aggregation=asked.aggregation, threshold=asked.threshold)
    answer_file(loaded, asked, "extract", options)
