"""``headrace embed``: embeddings of the lines of a file."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.settings import LoadedSettings

NormalizeFlag = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help="Scale to length 1; default: as the model was trained."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedArguments(TextArguments):
    """What ``headrace embed`` is called with."""

    normalize: NormalizeFlag = None


@with_settings("engine", "store", "limits")
def embed(loaded: LoadedSettings, asked: EmbedArguments) -> None:
    """Embed the lines of a file; prints one JSON object for each: index, embedding, tokens, truncated, windows."""
    from headrace.types import Options  # noqa: PLC0415 - loads NumPy, which --help needs not

    answer_file(loaded, asked, "embed", Options(truncate=asked.truncate, normalize=asked.normalize))
