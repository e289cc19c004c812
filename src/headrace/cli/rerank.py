"""``headrace rerank``: the lines of a file in order of how well they answer a query."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.similarity import QueryFlag
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

TopKFlag = Annotated[int | None, typer.Option("--top-k", min=1, help="How many lines, the best first; default: all.")]
RawFlag = Annotated[bool, typer.Option("--raw", help="Scores as the model gives them, without its activation.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankArguments(TextArguments):
    """What ``headrace rerank`` is called with."""

    query: QueryFlag
    top_k: TopKFlag = None
    raw: RawFlag = False


@with_settings("engine", "store", "limits")
def rerank(loaded: LoadedSettings, asked: RerankArguments) -> None:
    """Rank the lines of a file by a query; prints one JSON object for each, the best first: index, score, and so on."""
    options = Options(truncate=asked.truncate, top_k=asked.top_k, raw=asked.raw)
    answer_file(loaded, asked, "rerank", options, asked.query)
