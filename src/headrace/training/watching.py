"""Who hears how a training proceeds, and may stop it; the command line draws it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from headrace.models.sources.base import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Where a training is.

    Attributes:
        step: Steps done.
        loss: Mean over the examples of the last step.
        examples_per_s: Since this run began.
        left_s: Until the last step, at that speed.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    examples_per_s: float
    left_s: float


class Watcher(Progress, Protocol):
    """Hears of a training."""

    def say(self, line: str) -> None:
        """Tell something that is to stay on the screen."""
        ...

    def advanced(self, at: Advance) -> None:
        """Hear that a step was taken."""
        ...

    def measured(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Hear what was measured after a step on the examples held back."""
        ...

    def stoppable(self) -> AbstractContextManager[None]:
        """Take requests to stop, such as Ctrl-C, for as long as the block lasts, instead of ending it."""
        ...

    def stops(self) -> bool:
        """Whether somebody asked to stop."""
        ...
