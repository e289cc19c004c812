"""SIGTERM as Ctrl-C: what was started is ended, and what was measured is kept."""

import signal
from types import FrameType


def interrupt_on_terminate() -> None:
    """Raise KeyboardInterrupt on SIGTERM; by default it would end this program and leave servers running."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
