"""``headrace similarity``: how near the lines of a file are to a query."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.embed import DimensionsFlag, PromptFlag
from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

QueryFlag = Annotated[str, typer.Option("--query", help="Text that each line is compared with.", show_default=False)]

QueryPromptFlag = Annotated[
    str | None,
    typer.Option("--query-prompt", help="Name of the model's own prompt to put before the query; default: none."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityArguments(TextArguments):
    """What ``headrace similarity`` is called with."""

    query: QueryFlag
    dimensions: DimensionsFlag = None
    prompt: PromptFlag = None
    query_prompt: QueryPromptFlag = None


@with_settings("engine", "store", "limits")
def similarity(loaded: LoadedSettings, asked: SimilarityArguments) -> None:
    """Compare the lines of a file with a query; prints one JSON object for each: index, score, tokens, and so on."""
    options = Options(
        truncate=asked.truncate, dimensions=asked.dimensions, prompt=asked.prompt, query_prompt=asked.query_prompt
    )
    answer_file(loaded, asked, "similarity", options, asked.query)
