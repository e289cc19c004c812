"""An event loop in a thread of its own: how ordinary Python asks what is asynchronous.

It works from any thread, also from one that runs a loop itself.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from headrace.errors import ServiceStopping

R = TypeVar("R")

Work = Coroutine[Any, Any, R]


class Background:
    """A running loop.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._closing = threading.Lock()
        self._is_closed = False
        self._running: set[asyncio.Task[Any] | None] = set()  # of the loop's thread alone
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self, work: Callable[[], Work[R]]) -> R:
        """Return what comes of work on the loop; Ctrl-C cancels it.

        Raises:
            ServiceStopping: It is closed, or was closed meanwhile.
        """
        future = self._submit(work)
        try:
            return future.result()
        except CancelledError as error:
            raise ServiceStopping("it was closed while this waited for an answer; open it again") from error
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Work[object]]) -> None:
        """Give up what others wait for, do some last work and end the thread; may be called twice, from any thread."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
            # Once the result is told, on whichever thread that finds it told.
            ending.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if threading.current_thread() is not self._thread:  # which it is if the garbage is collected there
            self._thread.join()
            ending.result()

    def _submit(self, work: Callable[[], Work[R]]) -> "Future[R]":
        with self._closing:  # what is submitted before the end is found by it, and so is never waited for in vain
            if self._is_closed:
                raise ServiceStopping("it was closed; open it again")
            return asyncio.run_coroutine_threadsafe(self._noted(work), self._loop)

    async def _noted(self, work: Callable[[], Work[R]]) -> R:
        task = asyncio.current_task()
        self._running.add(task)
        try:
            return await work()
        finally:
            self._running.discard(task)

    async def _end(self, last: Callable[[], Work[object]]) -> None:
        running = [task for task in self._running if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await last()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()
