"""Asking again: only what may succeed then, ever later, never past the deadline, and at most a tenth more than without.

A server that is overloaded answers ever fewer requests the more are repeated. So what all callers of a client repeat
comes out of one budget, which each new request fills by a tenth of a repetition: however long a server is away, it is
asked at most 1.1 times as often. https://sre.google/sre-book/handling-overload/
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from headrace.errors import HeadraceError, TimeoutElapsed

R = TypeVar("R")

_SHARE: Final = 0.1
_RESERVE: Final = 10.0  # so that a client that just began, or asks seldom, may repeat at all
_FIRST_S: Final = 0.1  # a batch of short texts
_LONGEST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, which a test gives.

    Attributes:
        now: Seconds that never go backwards.
        sleep: Waits so many seconds.
        draw: Returns a number from 0 to 1.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    draw: Callable[[], float] = random.random


class Budget:
    """How often all requests of a client together may be repeated."""

    def __init__(self) -> None:
        self._tokens = _RESERVE

    def earn(self) -> None:
        """Count a request that is asked for the first time."""
        self._tokens = min(_RESERVE, self._tokens + _SHARE)

    def spend(self) -> bool:
        """Return whether one may be repeated, and count that."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Retrying:
    """Asks, and asks again.

    Args:
        retries: How often one request is repeated at most.
        clock: Time and chance.
    """

    def __init__(self, retries: int, clock: Clock | None = None) -> None:
        self._retries = retries
        self._clock = clock or Clock()
        self._budget = Budget()

    async def run(self, ask: Callable[[float], Awaitable[R]], timeout_s: float) -> R:
        """Return what comes of asking.

        Args:
            ask: Asks once; is told how many seconds are left.
            timeout_s: For all attempts together, and the time between them.

        Raises:
            TimeoutElapsed: There was no answer in time.
            HeadraceError: Why there is none; that of the last attempt.
        """
        self._budget.earn()
        deadline = self._clock.now() + timeout_s
        for attempt in range(self._retries):
            try:
                return await self._ask(ask, deadline, timeout_s)
            except HeadraceError as error:
                pause_s = self._pause_s(error, attempt)
                is_in_time = self._clock.now() + pause_s < deadline
                if not (error.retryable and is_in_time and self._budget.spend()):
                    raise
            await self._clock.sleep(pause_s)
        return await self._ask(ask, deadline, timeout_s)

    async def _ask(self, ask: Callable[[float], Awaitable[R]], deadline: float, timeout_s: float) -> R:
        left_s = max(0.0, deadline - self._clock.now())
        try:
            async with asyncio.timeout(left_s):
                return await ask(left_s)
        except TimeoutError as error:
            raise elapsed(timeout_s) from error

    def _pause_s(self, error: HeadraceError, attempt: int) -> float:
        """Return how long to wait: what the server asks for, and by chance up to twice as long each time.

        By chance, since those who were refused together would else come again together:
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        most_s = min(_LONGEST_S, _FIRST_S * 2.0**attempt)
        return (error.retry_after_s or 0.0) + self._clock.draw() * most_s


def elapsed(timeout_s: float) -> TimeoutElapsed:
    """Return the error of an answer that was not there in time."""
    return TimeoutElapsed(f"the answer was not there within {timeout_s:g} s; allow more time, or send less at once")
