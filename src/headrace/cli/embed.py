"""``headrace embed``: embeddings of the lines of a file."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

NormalizeFlag = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help="Scale to length 1; default: as the model was trained."),
]


DimensionsFlag = Annotated[
    int | None,
    typer.Option("--dimensions", min=1, help="Keep so many of the first numbers (Matryoshka models); default: all."),
]
PromptFlag = Annotated[
    str | None, typer.Option("--prompt", help="Name of the model's own prompt to put before each line; default: none.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedArguments(TextArguments):
    """What ``headrace embed`` is called with."""

    normalize: NormalizeFlag = None
    dimensions: DimensionsFlag = None
    prompt: PromptFlag = None


@with_settings("engine", "store", "limits")
def embed(loaded: LoadedSettings, asked: EmbedArguments) -> None:
    """Embed the lines of a file; prints one JSON object for each: index, embedding, tokens, truncated, windows."""
    options = Options(
        truncate=asked.truncate, normalize=asked.normalize, dimensions=asked.dimensions, prompt=asked.prompt
    )
    answer_file(loaded, asked, "embed", options)
