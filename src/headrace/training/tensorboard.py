"""What a training measures, as TensorBoard reads it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.errors import DependencyMissing
from headrace.export.needs import missing
from headrace.models.disk import writing
from headrace.training.watching import Advance, Watcher

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_NEEDED: Final = ("tensorboard",)


@contextmanager
def logging_to(folder: Path | None, watcher: Watcher) -> Iterator[Watcher]:
    """Give a watcher that also writes what it hears of into a folder; the same watcher if there is none.

    Raises:
        DependencyMissing: The extra ``tensorboard`` is not installed.
        StoreUnusable: The folder cannot be written.
    """
    if folder is None:
        yield watcher
        return
    if missing(_NEEDED):
        raise DependencyMissing("--tensorboard needs tensorboard; run: pip install 'headrace[tensorboard]'")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    logged = _LoggingWatcher(folder, watcher)
    try:
        yield logged
    finally:
        logged.close()


class _LoggingWatcher:
    """Passes everything on, and writes the numbers down."""

    def __init__(self, folder: Path, watcher: Watcher) -> None:
        self._folder = folder
        self._watcher = watcher
        self._writer: SummaryWriter | None = None

    def step(self, text: str) -> AbstractContextManager[None]:
        """Pass it on."""
        return self._watcher.step(text)

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Pass it on."""
        self._watcher.transferred(done_bytes, total_bytes)

    def say(self, line: str) -> None:
        """Pass it on."""
        self._watcher.say(line)

    def stoppable(self) -> AbstractContextManager[None]:
        """Pass it on."""
        return self._watcher.stoppable()

    def stops(self) -> bool:
        """Pass it on."""
        return self._watcher.stops()

    def advanced(self, at: Advance) -> None:
        """Write the loss and the speed of a step."""
        self._watcher.advanced(at)
        self._write(at.step, {"loss": at.loss, "examples_per_s": at.examples_per_s, "epoch": at.epoch})

    def measured(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Write what was measured on the examples held back."""
        self._watcher.measured(step, steps, metrics)
        self._write(step, {f"held_out/{name}": value for name, value in metrics.items()})

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            with writing(self._folder):
                self._writer.close()

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        with writing(self._folder):
            if self._writer is None:
                from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415 - loads a second of packages

                # What was written of this step and later ones is of a training that stopped, and is seen no more.
                self._writer = SummaryWriter(str(self._folder), purge_step=step)
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
