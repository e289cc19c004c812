"""The limiter in this process: two numbers for each caller and limit."""

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Final

from headrace.allowance import Allowance
from headrace.limits.base import NOTHING, Demand, Reservation
from headrace.limits.kinds import Limit, Reading
from headrace.limits.rulebook import Claim, Line, Rulebook
from headrace.settings import Rule

# Making room takes time in proportion to all that are remembered, 3 ms for 10,000: so it is made for several at once.
_ROOM: Final = 64  # the part of all callers that makes room


class MemoryLimiter:
    """Counts in this process.

    It belongs to the event loop: ``acquire`` never gives way, so taking from several limits is one step.

    A caller that has used nothing is the same as one never seen, so forgetting it changes nothing. Only when
    ``max_callers`` have used something does a new one push out others, those that used the least: they may then use
    that once more. This errs on the side of admitting, never of refusing an honest caller; it is safe as long as
    callers are names that the guard established, since nobody can make those up. Whose requests run is never forgotten.

    Args:
        rules: What is limited; without any, every request passes.
        max_callers: Callers that are remembered for each limit.
        clock: Seconds that never go backwards, which rates go by.
        calendar: Seconds since 1970, which quotas go by.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        max_callers: int,
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._book = Rulebook(rules)
        self._max_callers = max_callers
        self._clock = clock
        self._calendar = calendar
        self._kept: dict[str, dict[str, tuple[float, float]]] = {rule.name: {} for rule in rules}

    @property
    def callers(self) -> int:
        """Callers that are remembered now, each once for each limit."""
        return sum(map(len, self._kept.values()))

    async def acquire(self, demand: Demand) -> Reservation:
        """Take what a request will use of every limit that is for it; raises as the port says."""
        claim = self._book.claim(demand)
        if claim is None:
            return NOTHING
        now = self._clock(), self._calendar()
        readings = [self._read(line, now) for line in claim.lines]
        claim.require_room(readings)
        for index, line in enumerate(claim.lines):
            readings[index] = self._add(line, readings[index], claim.cost(line))
        return _Reservation(self, claim, readings)

    async def aclose(self) -> None:
        """Do nothing: all is written."""

    def change(self, line: Line, amount: float, mark: float) -> Reading:
        """Use so much more than was reserved, or less, and return what is used then.

        Args:
            line: What was reserved.
            amount: How much more.
            mark: The mark at that time: what was reserved in a period that is over changes nothing in the next.
        """
        reading = self._read(line, (self._clock(), self._calendar()))
        if line.limit.is_calendar and reading.mark != mark:
            return reading
        return self._add(line, reading, amount)

    def _read(self, line: Line, now: tuple[float, float]) -> Reading:
        limit = line.limit
        kept = self._kept[limit.name]
        used, mark = kept.get(line.key, (0.0, None))
        reading = limit.read(used, mark, now[limit.is_calendar])
        if limit.kind == "rate" and mark is not None and mark > reading.now:
            kept[line.key] = (used, reading.now)  # the clock was set back: what is used flows out from here on
        return reading

    def _add(self, line: Line, before: Reading, amount: float) -> Reading:
        kept, after = self._kept[line.limit.name], Reading(max(0.0, before.used + amount), before.mark, before.now)
        if not after.used:
            kept.pop(line.key, None)
            return after
        if line.key not in kept and len(kept) >= self._max_callers and line.limit.kind != "concurrency":
            self._make_room(line.limit, after.now)
        kept[line.key] = (after.used, after.mark)
        return after

    def _make_room(self, limit: Limit, now: float) -> None:
        kept = self._kept[limit.name]
        used = {key: limit.read(*count, now).used for key, count in kept.items()}
        unused = [key for key, amount in used.items() if not amount]
        for key in unused or heapq.nsmallest(max(1, len(used) // _ROOM), used, key=used.__getitem__):
            del kept[key]


class _Reservation:
    """What a request took here."""

    __slots__ = ("_claim", "_is_settled", "_limiter", "_readings")

    def __init__(self, limiter: MemoryLimiter, claim: Claim, readings: list[Reading]) -> None:
        self._limiter = limiter
        self._claim = claim
        self._readings = readings
        self._is_settled = False

    async def settle(self, tokens: int) -> Sequence[Allowance]:
        """Count what was used instead of what was estimated, as the port says."""
        claim, readings = self._claim, self._readings
        if not self._is_settled:
            self._is_settled = True
            for index, line in enumerate(claim.lines):
                if change := claim.correction(line, tokens):
                    readings[index] = self._limiter.change(line, change, readings[index].mark)
        return claim.rank(readings)
