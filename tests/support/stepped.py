"""An event loop, a clock and threads that stand still until a test moves them: every order of events can be tried."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

STARTED_AT = 1000.0


class Clock:
    """Stands for the module ``time`` where the code under test reads it."""

    def __init__(self) -> None:
        self.now = STARTED_AT

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Take no time: what takes time is the test's to say."""


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of the test's.

    Attributes:
        mistakes: What nobody caught.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.mistakes: list[dict[str, Any]] = []
        super().__init__()
        self.set_exception_handler(lambda _, context: self.mistakes.append(context))

    def time(self) -> float:
        return self._clock.now

    def settle(self) -> None:
        """Run until all that can happen now has happened."""
        while True:
            self.call_soon(self.stop)
            self.run_forever()
            timers = self._scheduled  # type: ignore[attr-defined]
            if not self._ready and not (timers and timers[0].when() <= self.time()):  # type: ignore[attr-defined]
                return


@dataclass(frozen=True, slots=True)
class Work:
    """What a thread was given to do.

    Attributes:
        given_at: Point on the clock.
    """

    given_at: float
    future: Future[Any]
    do: Callable[[], Any]


class SteppedThreads:
    """Makes executors whose work is done when the test says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.executors: list[SteppedExecutor] = []

    def make(self, max_workers: int = 1, thread_name_prefix: str = "", **_: object) -> "SteppedExecutor":
        """Stand for ``ThreadPoolExecutor``; there is no thread, so what would begin it is left out."""
        assert max_workers == 1, "with more than one thread the test would have to say which it steps"
        self.executors.append(SteppedExecutor(self))
        return self.executors[-1]

    @property
    def now(self) -> float:
        return self._clock.now

    @property
    def busy(self) -> list["SteppedExecutor"]:
        """Those that have work."""
        return [executor for executor in self.executors if executor.queue]


class SteppedExecutor:
    """One thread. The first piece of work in the queue counts as running: it cannot be taken back."""

    def __init__(self, threads: SteppedThreads) -> None:
        self._threads = threads
        self.queue: deque[Work] = deque()
        self.is_shut = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        work = Work(self._threads.now, Future(), lambda: function(*arguments))
        self.queue.append(work)
        self._begin()
        return work.future

    def shutdown(self, wait: bool = True) -> None:
        self.is_shut = True

    def step(self) -> None:
        """Do the piece of work that counts as running."""
        work = self.queue[0]
        try:
            result = work.do()
        except Exception as error:  # noqa: BLE001 - as a thread pool does
            work.future.set_exception(error)
        else:
            work.future.set_result(result)
        self.queue.popleft()
        self._begin()

    def _begin(self) -> None:
        while self.queue and not self.queue[0].future.running():
            if not self.queue[0].future.set_running_or_notify_cancel():
                self.queue.popleft()


def step_package(patch: pytest.MonkeyPatch, package: str, clock: Clock, threads: SteppedThreads) -> None:
    """Give every loaded module of a package the clock and the threads of the test."""
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{package}."):
            for attribute, stand_in in (("time", clock), ("ThreadPoolExecutor", threads.make)):
                if hasattr(module, attribute):
                    patch.setattr(module, attribute, stand_in)
