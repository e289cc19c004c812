"""What is shown on standard error while something takes long. Imported only where it is needed: it loads rich."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from headrace.cli.failures import one_line
from headrace.models.sources.base import Progress as Steps


class SilentSteps:
    """Shows nothing, for programs that read standard error as JSON."""

    def step(self, text: str) -> AbstractContextManager[None]:  # noqa: ARG002 - as the protocol has it
        """Show nothing."""
        return nullcontext()

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show nothing."""


class PlainSteps:
    """Writes one line when a step begins, with the time since the first one, for logs and pipes."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Write the line; the next step or the result says that it ended."""
        typer.echo(f"[{time.monotonic() - self._started:5.1f} s] {one_line(text)}", err=True)
        yield

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show nothing: a log needs no moving figures."""


class LiveSteps:
    """Draws the running step with its time and its download, and leaves a line for each one that ended."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._download: Callable[[int, int | None], None] | None = None

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Draw a step until its block ends."""
        started = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(one_line(text), total=None)

            def draw(done: int, total: int | None) -> None:
                share = f" {done / total:.0%}" if total else f" {done >> 20} MiB"
                bar.update(task, description=one_line(text) + share)

            self._download = draw
            try:
                yield
            finally:
                self._download = None
        self._console.print(Text(f"done  {one_line(text)} ({time.monotonic() - started:.1f} s)"))

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Draw how much of the download is here."""
        if self._download is not None:
            self._download(done_bytes, total_bytes)


def steps(*, as_json: bool) -> Steps:
    """Choose how steps are shown: not at all beside JSON, drawn on a terminal, as lines elsewhere."""
    if as_json:
        return SilentSteps()
    return LiveSteps() if sys.stderr.isatty() else PlainSteps()


@contextmanager
def file_bar(source: BinaryIO) -> Iterator[Callable[[], None]]:
    """Show how much of a file was read; yields what to call when more of it is done."""
    start = source.tell()
    total = source.seek(0, 2)
    source.seek(start)
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=start)
        yield lambda: bar.update(task, completed=source.tell())
