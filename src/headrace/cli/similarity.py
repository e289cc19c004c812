"""``headrace similarity``: how near the lines of a file are to a query."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.settings import LoadedSettings

QueryFlag = Annotated[str, typer.Option("--query", help="Text that each line is compared with.", show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityArguments(TextArguments):
    """What ``headrace similarity`` is called with."""

    query: QueryFlag


@with_settings("engine", "store", "limits")
def similarity(loaded: LoadedSettings, asked: SimilarityArguments) -> None:
    """Compare the lines of a file with a query; prints one JSON object for each: index, score, tokens, and so on."""
    from headrace.types import Options  # noqa: PLC0415 - loads NumPy, which --help needs not

    answer_file(loaded, asked, "similarity", Options(truncate=asked.truncate), asked.query)
