"""The rate limiter in this process: the generic cell rate algorithm (GCRA), one number for each caller.

GCRA is a token bucket that needs no refill: it keeps only the moment at which a caller's allowance will be
full again (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm, "theoretical arrival time").
"""

import time
from collections.abc import Callable
from typing import Final

from headrace.allowance import Allowance
from headrace.limits.rate import Rate

# Two float operations on a clock that has run for 30 years (2**30 s) differ by up to 0.24 µs: without this, a
# caller that waited exactly as long as it was told could be refused again.
_ROUNDING_S: Final = 1e-6


class MemoryLimiter:
    """Lets each caller send ``burst`` requests at once, and ``requests_per_s`` in the long run.

    It belongs to the event loop: ``acquire`` never gives way, so taking from an allowance is atomic.

    A caller whose allowance is full again is the same as one never seen, so forgetting it changes nothing. Only
    when ``max_callers`` are busy at once does a new one push out another, the one that is nearest to full: that one
    may then send up to ``burst`` requests it had already spent. This errs on the side of admitting, never of
    refusing an honest caller; it is safe as long as callers are names that the guard established, since nobody
    can make those up. Making room takes time in proportion to ``max_callers``, about 1 ms for 10,000.

    Args:
        requests_per_s: Sustained rate of one caller; with ``None`` every request passes.
        burst: Requests a caller may send at once.
        max_callers: Callers that are remembered.
        clock: Seconds that never go backwards.
    """

    def __init__(
        self,
        requests_per_s: float | None,
        burst: int,
        max_callers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = None if requests_per_s is None else Rate(requests_per_s, burst)
        self._max_callers = max_callers
        self._clock = clock
        self._full_at: dict[str, float] = {}

    @property
    def callers(self) -> int:
        """Callers that are remembered now."""
        return len(self._full_at)

    async def acquire(self, caller: str, cost: float = 1.0) -> Allowance | None:
        """Take ``cost`` requests from the caller's allowance, and return what is left of it; nothing without a rate.

        Raises:
            LimitExceeded: The allowance is used up, and nothing is taken; ``retry_after_s`` says when it will do,
                and is missing where ``cost`` is more than a full allowance and waiting does not help.
        """
        rate = self._rate
        if rate is None:
            return None
        rate.require_payable(caller, cost)
        now = self._clock()
        begin = max(self._full_at.get(caller, now), now)
        full_at = begin + cost / rate.per_s
        wait_s = full_at - now - rate.room_s
        if wait_s > _ROUNDING_S:
            raise rate.refuse(caller, wait_s, begin - now)
        if caller not in self._full_at and len(self._full_at) >= self._max_callers:
            self._make_room(now)
        self._full_at[caller] = full_at
        return rate.allowance(full_at - now)

    def _make_room(self, now: float) -> None:
        full = [caller for caller, full_at in self._full_at.items() if full_at <= now]
        for caller in full or [min(self._full_at, key=self._full_at.__getitem__)]:
            del self._full_at[caller]
