"""What the commands share that answer the lines of a file, in this process."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from headrace.cli.lines import Line, read_json_lines, read_texts
from headrace.cli.stored import choose_models, complete_name, store_of
from headrace.options import Options, Truncate
from headrace.settings import LoadedSettings, Settings

if TYPE_CHECKING:
    from headrace.types import TaskName

_STDIN: Final = Path("-")
# The longest line that is read has a text of the longest allowed kind and some room for the fields beside it.
_ESCAPED_CHAR_BYTES: Final = 12  # a character as JSON may write it, such as \ud83d\ude00
_OTHER_FIELDS_BYTES: Final = 1 << 20

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="File with a text on each line, or JSON Lines (.jsonl); - or nothing: standard input.",
        show_default=False,
    ),
]
ModelFlag = Annotated[
    str | None,
    typer.Option("--model", help="Model to use; default: the first that does this.", autocompletion=complete_name),
]
TruncateFlag = Annotated[
    Truncate,
    typer.Option("--truncate", help="A text over the model's window: refuse it, cut it, or take all of it in windows."),
]
FieldFlag = Annotated[
    str | None, typer.Option("--field", help="Field of the text in JSON Lines; default: text.", show_default=False)
]
JsonLinesFlag = Annotated[bool, typer.Option("--jsonl", help="Read JSON Lines, whatever the file is called.")]
JsonErrorsFlag = Annotated[bool, typer.Option("--json", help="Print errors as JSON; results always are.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArguments:
    """What a command that answers texts is called with."""

    file: FileArgument = _STDIN
    model: ModelFlag = None
    truncate: TruncateFlag = "truncate"
    field: FieldFlag = None
    jsonl: JsonLinesFlag = False
    as_json: JsonErrorsFlag = False

    @property
    def text_field(self) -> str | None:
        """The field of a JSON object that holds the text; nothing if each line is a text."""
        is_jsonl = self.jsonl or self.field is not None or self.file.suffix == ".jsonl"
        return (self.field or "text") if is_jsonl else None


def answer_file(
    loaded: LoadedSettings,
    asked: TextArguments,
    task: "TaskName",
    options: "Options",
    query: str | None = None,
    labels: Sequence[str] = (),
) -> None:
    """Print one JSON object for each line of the file."""
    from headrace.cli.answers import Asked, answer_lines  # noqa: PLC0415 - the runtime, which --help must not wait for
    from headrace.tasks import TASKS  # noqa: PLC0415 - as above

    store, named = store_of(loaded.settings), [asked.model] if asked.model else []
    model = choose_models(store, named, as_json=asked.as_json, task=TASKS[task].model)[0].name
    # asyncio would only cancel the task, which cannot end a read of standard input; raising does.
    signal.signal(signal.SIGINT, _interrupt)
    with _open(asked.file) as source, _progress(source) as advance:
        lines = _read(source, loaded.settings, asked.text_field)
        asyncio.run(answer_lines(loaded, Asked(task, model, options, query, tuple(labels)), lines, advance))


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _open(file: Path) -> AbstractContextManager[BinaryIO]:
    if file == _STDIN:
        if sys.stdin is None:
            raise typer.BadParameter("standard input is closed; name a file", param_hint="FILE")
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {str(file)!r}: {error.strerror}", param_hint="FILE") from error


def _read(source: BinaryIO, settings: Settings, field: str | None) -> Iterator[Line]:
    max_bytes = _ESCAPED_CHAR_BYTES * settings.limits.max_text_chars + _OTHER_FIELDS_BYTES
    if field is None:
        return read_texts(source, max_bytes=max_bytes)
    return read_json_lines(source, field=field, max_bytes=max_bytes)


def _progress(source: BinaryIO) -> AbstractContextManager[Callable[[], None]]:
    """Show how much of the file is done, where it disturbs nobody: not among results, not in a log."""
    if not sys.stderr.isatty() or sys.stdout.isatty() or not source.seekable():
        return nullcontext(lambda: None)

    from headrace.cli.progress import file_bar  # noqa: PLC0415 - loads rich, which a pipe does not need

    return file_bar(source)
