"""Work that few may do at once and few may wait for: what costs much, and anybody can ask for."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from headrace.errors import QueueFull

R = TypeVar("R")

_RETRY_S: Final = 1.0


class Gate:
    """Runs work in threads.

    Args:
        at_once: So many.
        waiting: So many more wait; the rest is refused.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0

    async def run(self, work: Callable[[], R]) -> R:
        """Return what work returns, or raise what it raises.

        Raises:
            QueueFull: As many wait already as may.
        """
        if self._inside >= self._most:
            raise QueueFull("too many ask for tokens at once; ask again later", retry_after_s=_RETRY_S)
        self._inside += 1
        task = asyncio.ensure_future(self._run(work))
        task.add_done_callback(self._leave)
        # Who stops waiting leaves a thread behind that nobody can stop: it counts until it is done.
        return await asyncio.shield(task)

    async def _run(self, work: Callable[[], R]) -> R:
        async with self._free:
            return await asyncio.to_thread(work)

    def _leave(self, task: "asyncio.Task[R]") -> None:
        self._inside -= 1
        if not task.cancelled():
            task.exception()  # looked at, also if nobody waits for it any more
