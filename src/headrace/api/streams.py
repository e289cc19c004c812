"""Many requests in a row, through any door: some are worked on at a time, and one that has to wait is not read.

So whoever sends faster than the server computes waits with it, and is never refused for that.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from headrace.errors import QueueFull
from headrace.types import Answer

M = TypeVar("M")

# Two batches of single short texts keep a session busy while the next are read, and 16 of the largest requests are
# 32 MiB.
_WINDOW: Final = 16


async def work_through(messages: AsyncIterator[M], work: Callable[[M], Awaitable[None]]) -> None:
    """Work on each message; an error ends all of it, and is raised by itself: the first, if there are several.

    Args:
        messages: Read as there is room for them.
        work: Called in their order, up to where it waits for the first time.
    """
    places = asyncio.Semaphore(_WINDOW)

    async def run(message: M) -> None:
        try:
            await work(message)
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            await places.acquire()
            async for message in messages:
                tasks.create_task(run(message))
                await places.acquire()
    except BaseExceptionGroup as group:
        first = group.exceptions[0]
        raise first from first.__cause__


async def ask_patiently(ask: Callable[[], Awaitable[Answer]], limit_s: float) -> Answer:
    """Ask again while the queue is full.

    Args:
        ask: Asks once.
        limit_s: For all of it.

    Raises:
        HeadraceError: Why there is no answer; it is still full when the time is over.
    """
    until = time.monotonic() + limit_s
    while True:
        try:
            return await ask()
        except QueueFull as error:
            later_s = error.retry_after_s or 0
            if time.monotonic() + later_s > until:
                raise
            await asyncio.sleep(later_s)
