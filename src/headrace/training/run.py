"""One training, from its first step to its last, however often it is interrupted.

It lives in a folder of its own: ``checkpoint.safetensors`` is where it is, ``best.safetensors`` the weights that
measured best. A process holds the folder while it trains.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import nn

from headrace.errors import TrainingBusy, TrainingChanged, TrainingDiverged, TrainingStopped, TrainingUnfinished
from headrace.models.disk import writing
from headrace.training.batches import Order, Update, count_updates
from headrace.training.checkpoint import load_checkpoint, read_facts, save_checkpoint
from headrace.training.device import seed_dropout
from headrace.training.numbers import Numbers
from headrace.training.watching import Advance, Watcher

_CHECKPOINT: Final = "checkpoint.safetensors"
_BEST: Final = "best.safetensors"
_INTERVAL_S: Final = 60.0
# A checkpoint of a large model takes seconds; with this it is a twentieth of the time at most.
_INTERVAL_SAVES: Final = 20
_POINTS: Final = 400  # of the curve of losses


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """How far a training got, as its checkpoint keeps it.

    Attributes:
        step: Steps done.
        losses: Mean loss of about each 400th part of the steps, with the last step of it.
        measured: What was measured, with the step after which.
        best: Step of the best measurement.
        elapsed_s: Spent, over all runs.
    """

    step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    measured: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    best: int | None = None
    elapsed_s: float = 0.0

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self:
        """Return what a checkpoint says."""
        told = cls(**facts)
        told.losses = [(int(step), float(loss)) for step, loss in told.losses]
        told.measured = [(int(step), dict(metrics)) for step, metrics in told.measured]
        return told


@contextlib.contextmanager
def held_folder(folder: Path, name: str) -> Iterator[None]:
    """Make the folder of a training, and keep other processes from training in it at the same time.

    Raises:
        TrainingBusy: One does.
        StoreUnusable: It cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingBusy(
                f"{name!r} is being trained by another process; wait for it, or take another --name"
            ) from error
        except OSError:
            pass  # some network file systems have no locks
        yield
    finally:
        os.close(handle)


class Run:
    """Counts, keeps and stops; what is learned, and how, is the recipe's."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], numbers: Numbers, watcher: Watcher) -> None:
        """Take a folder.

        Args:
            folder: Held by this process.
            identity: What the weights follow from; a checkpoint of something else is not continued.
            numbers: How it is trained.
            watcher: Hears of it.
        """
        self.state = TrainingState()
        self.watcher = watcher
        self._folder = folder
        self._identity = identity
        self._numbers = numbers
        self._steps = 0
        self._sums: list[float] = []
        self._began = self._saved = time.monotonic()
        self._before_s = 0.0
        self._interval_s = _INTERVAL_S
        self._examples = 0

    def decide(self, name: str, *, resume: bool | None) -> None:
        """Look for a training that was interrupted, before anything else is done.

        Args:
            name: Of the model, for the message.
            resume: Go on with it, or start anew; ``None`` is neither.

        Raises:
            TrainingUnfinished: There is one, and nobody said what is to become of it.
            TrainingChanged: It is to be continued, and is that of something else.
            TrainingCorrupt: It is to be continued, and its checkpoint is broken.
        """
        path = self._folder / _CHECKPOINT
        if resume is False:
            self.forget()
        if not path.exists():
            return
        facts = read_facts(path)
        if resume is None:
            raise TrainingUnfinished(
                f"a training of {name!r} stopped after step {facts['state']['step']:,}; --resume goes on with it,"
                " --no-resume starts anew"
            )
        _require_same(facts["identity"], self._identity)
        self.state = TrainingState.read(facts["state"])
        self._before_s = self.state.elapsed_s

    def updates(self, lengths: Sequence[int], model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Update]:
        """Yield the updates that are still to be done; between them checkpoints are written.

        Dropout is seeded for each of them, so what is drawn does not depend on what was before.

        Raises:
            TrainingStopped: Somebody asked for it; everything is kept.
            StoreUnusable: A checkpoint cannot be written.
        """
        numbers = self._numbers
        self._steps = numbers.epochs * count_updates(len(lengths), numbers.rows)
        if self.state.step:
            load_checkpoint(self._folder / _CHECKPOINT, model, optimizer)
            self.watcher.say(f"goes on after step {self.state.step:,} of {self._steps:,}")
        order = Order(
            rows=numbers.rows,
            pool=numbers.pool,
            token_budget=numbers.token_budget,
            epochs=numbers.epochs,
            seed=numbers.seed,
        )
        device = next(model.parameters()).device
        self._began = self._saved = time.monotonic()
        with self.watcher.stoppable():
            for update in order.updates(lengths, self.state.step):
                if self._is_stale:
                    break
                seed_dropout(device, numbers.seed * 1_000_003 + update.number)
                yield update
                self._keep_if_due(model, optimizer)
            self._keep(model, optimizer)

    @property
    def steps(self) -> int:
        """How many steps all epochs have together."""
        return self._steps

    def stepped(self, update: Update, loss: float) -> None:
        """Count a step that was taken.

        Args:
            update: Its rows.
            loss: Mean over them.

        Raises:
            TrainingDiverged: The loss is no number any more.
        """
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss of step {update.number + 1:,} is {loss}; take a lower --learning-rate than"
                f" {self._numbers.learning_rate:g}, or --precision fp32"
            )
        state = self.state
        state.step = update.number + 1
        self._examples += len(update.rows)
        self._sums.append(loss)
        if state.step % max(1, self._steps // _POINTS) == 0 or update.ends_epoch:
            state.losses.append((state.step, math.fsum(self._sums) / len(self._sums)))
            self._sums.clear()
        spent_s = time.monotonic() - self._began
        per_step_s = (self._before_s + spent_s) / state.step
        self.watcher.advanced(
            Advance(
                step=state.step,
                steps=self._steps,
                epoch=update.epoch + 1,
                epochs=self._numbers.epochs,
                loss=loss,
                examples_per_s=self._examples / max(spent_s, 1e-9),
                left_s=per_step_s * (self._steps - state.step),
            )
        )

    def measured(self, model: nn.Module, metrics: Mapping[str, float]) -> None:
        """Take what the model measures on the examples held back; the first of the metrics decides which is best.

        Raises:
            StoreUnusable: The best weights cannot be written.
        """
        state = self.state
        state.measured.append((state.step, dict(metrics)))
        self.watcher.measured(state.step, self._steps, metrics)
        if state.best is None or _leading(metrics) > _leading(self._metrics_of(state.best)):
            state.best = state.step
            save_checkpoint(self._folder / _BEST, model, None, {})

    def take_best(self, model: nn.Module) -> dict[str, float]:
        """Give the model the weights that measured best, and return what they measured.

        Raises:
            TrainingCorrupt: The file is broken.
        """
        if self.state.best is None:
            return {}
        load_checkpoint(self._folder / _BEST, model, None)
        return self._metrics_of(self.state.best)

    def forget(self) -> None:
        """Remove the checkpoints: it is done, or is to start anew."""
        with writing(self._folder):
            for name in (_CHECKPOINT, _BEST):
                (self._folder / name).unlink(missing_ok=True)

    @property
    def _is_stale(self) -> bool:
        patience, measured = self._numbers.patience, self.state.measured
        since = [step for step, _ in measured if self.state.best is not None and step > self.state.best]
        return patience is not None and len(since) >= patience

    def _metrics_of(self, step: int) -> dict[str, float]:
        return dict(self.state.measured)[step]

    def _keep_if_due(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        asked = self.watcher.stops()
        if asked or time.monotonic() - self._saved >= self._interval_s:
            self._keep(model, optimizer)
        if asked:
            raise TrainingStopped(
                f"stopped after step {self.state.step:,} of {self._steps:,}, and kept; the same command with"
                " --resume goes on"
            )

    def _keep(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        begun = time.monotonic()
        self.state.elapsed_s = self._before_s + begun - self._began
        facts = {"identity": self._identity, "state": asdict(self.state)}
        save_checkpoint(self._folder / _CHECKPOINT, model, optimizer, facts)
        self._saved = time.monotonic()
        self._interval_s = max(_INTERVAL_S, _INTERVAL_SAVES * (self._saved - begun))


def _leading(metrics: Mapping[str, float]) -> float:
    return next(iter(metrics.values()))


def _require_same(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    other = sorted(name for name in {*kept, *wanted} if kept.get(name) != wanted.get(name))
    if other:
        told = ", ".join(f"{name} was {kept.get(name)!r} and is {wanted.get(name)!r}" for name in other[:3])
        raise TrainingChanged(f"the training that stopped was another: {told}; --no-resume starts anew")
