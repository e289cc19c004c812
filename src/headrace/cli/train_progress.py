"""What is shown of a training: its loss, its speed and the time that is left. Loads rich."""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from headrace.cli.failures import TERMINATED, one_line
from headrace.cli.progress import steps
from headrace.training.watching import Advance, Watcher

_LINE_EVERY_S: Final = 10.0  # in a log


class _Stoppable:
    """Takes the first Ctrl-C or SIGTERM as a wish to stop, and the second as it is."""

    def __init__(self, *, as_json: bool) -> None:
        self._steps = steps(as_json=as_json)
        self._signal: int | None = None

    def step(self, text: str) -> AbstractContextManager[None]:
        """Show a step as an import does."""
        return self._steps.step(text)

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show a download as an import does."""
        self._steps.transferred(done_bytes, total_bytes)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Take signals for as long as the block lasts."""
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stops(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED)
        self._signal = number
        self.say("stopping after this step; once more stops at once")

    def measured(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Tell what was measured."""
        self.say(f"step {step:,} of {steps:,}: {', '.join(f'{name} {value:.4f}' for name, value in metrics.items())}")

    def say(self, line: str) -> None:
        """Write a line to standard error."""
        typer.echo(one_line(line), err=True)


class SilentWatcher(_Stoppable):
    """Shows nothing, for programs that read standard error as JSON."""

    def say(self, line: str) -> None:
        """Show nothing."""

    def advanced(self, at: Advance) -> None:
        """Show nothing."""


class PlainWatcher(_Stoppable):
    """Writes a line every ten seconds, for logs and pipes."""

    _last = 0.0

    def advanced(self, at: Advance) -> None:
        """Write a line if it is time for one, and the last one in any case."""
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S or at.step == at.steps:
            self._last = now
            self.say(_told(at))


class LiveWatcher(_Stoppable):
    """Draws a bar that goes on in its place."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(as_json=as_json)
        self._console = Console(stderr=True, highlight=False)
        columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=None)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Draw the bar for as long as the block lasts, and take signals."""
        with super().stoppable(), self._bar:
            yield

    def advanced(self, at: Advance) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=at.step, total=at.steps, description=_told(at))

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._console.print(Text(one_line(line)))


def watcher(*, as_json: bool) -> Watcher:
    """Choose how a training is shown: not at all beside JSON, drawn on a terminal, as lines elsewhere."""
    if as_json:
        return SilentWatcher(as_json=True)
    return LiveWatcher(as_json=False) if sys.stderr.isatty() else PlainWatcher(as_json=False)


def _told(at: Advance) -> str:
    return (
        f"step {at.step:,} of {at.steps:,}, epoch {at.epoch} of {at.epochs}, loss {at.loss:.4f},"
        f" {at.examples_per_s:,.0f} examples/s, {_clock(at.left_s)} left"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
