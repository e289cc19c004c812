"""The limiter in Redis: the same limits as in memory, counted once for all replicas."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from headrace.allowance import Allowance
from headrace.limits.base import NOTHING, Demand, Limiter, Reservation
from headrace.limits.kinds import Quota, Rate, Reading
from headrace.limits.rulebook import Claim, Line, Rulebook
from headrace.limits.script import SCRIPT
from headrace.redis import RedisAway, RedisLink
from headrace.settings import Rule

_KEY: Final = "headrace:limits:v1:"
_MICROSECONDS: Final = 1_000_000
# A request ends by its deadline, but for what its replica needs to notice.
_LEASE_MARGIN_S: Final = 1.0
# Nobody waits for it so long; it is what a lease that was not given back would keep a place for.
_SETTLE_S: Final = 0.5

_Readings = list[Reading]


@dataclass(frozen=True, slots=True)
class _Change:
    """What is asked of the script for one limit.

    Attributes:
        amount: What is taken, or how much more it was than that.
        mark: The mark when it was taken.
    """

    line: Line
    amount: int
    mark: float = 0.0


class RedisLimiter:
    """Counts for all replicas, with one call before a request and one after it where something is settled.

    While Redis is away each replica counts for itself: all together then admit at most as many times what is allowed as
    there are replicas, and nobody is refused for it. What was taken in Redis and cannot be settled there stays as it
    was estimated; the place of a request that runs is free again when its deadline is over.

    Args:
        link: To Redis.
        rules: What is limited.
        otherwise: Counts while Redis is away.
        calendar: Seconds since 1970, to know which periods there are; which of them it is, Redis says.
    """

    def __init__(
        self,
        link: RedisLink,
        rules: Sequence[Rule],
        otherwise: Limiter,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._book = Rulebook(rules)
        self._otherwise = otherwise
        self._calendar = calendar
        self._script: Any = None
        self._name = secrets.token_hex(8)  # of this replica among the others
        self._numbers = itertools.count()
        self._settling: set[asyncio.Task[_Readings]] = set()

    async def acquire(self, demand: Demand) -> Reservation:
        """Take what a request will use of every limit that is for it; raises as the port says."""
        claim = self._book.claim(demand)
        if claim is None:
            return NOTHING
        taking = _Taking(self, claim, f"{self._name}:{next(self._numbers)}")
        try:
            is_taken, readings = await self._link.call(taking.run)
        except RedisAway:
            taking.abandon()
            return await self._otherwise.acquire(demand)
        except asyncio.CancelledError:
            taking.abandon()
            raise
        if not is_taken:
            claim.require_room(readings)
        return _Reservation(self, claim, taking.lease, readings)

    async def aclose(self) -> None:
        """Wait until what was settled is written, or is given up."""
        await asyncio.gather(*self._settling)

    async def ask(self, redis: Any, lease: str, lease_s: float, changes: Sequence[_Change]) -> tuple[bool, _Readings]:
        """Run the script: it takes for as long as a lease holds, or settles where that is no time."""
        if self._script is None:
            self._script = redis.register_script(SCRIPT)
        told = await self._script(
            keys=[_KEY + change.line.key for change in changes],
            args=[
                "take" if lease_s else "settle",
                lease,
                round(lease_s * _MICROSECONDS),
                *(value for change in changes for value in _spell(change, self._calendar())),
            ],
        )
        numbers = [float(each) for each in told]
        now = numbers[1] / _MICROSECONDS
        used, marks = numbers[2::2], numbers[3::2]
        return bool(told[0]), [
            Reading(*each, now) for each in zip(used, (m / _MICROSECONDS for m in marks), strict=True)
        ]

    def settle(self, lease: str, changes: Sequence[_Change]) -> "asyncio.Task[_Readings]":
        """Begin to settle what was taken; it goes on to its end, whoever waits. Without Redis nothing is said."""

        async def run(redis: Any) -> _Readings:
            return (await self.ask(redis, lease, 0.0, changes))[1]

        async def settle() -> _Readings:
            try:
                return await self._link.call(run, _SETTLE_S)
            except RedisAway:
                return []

        task = asyncio.create_task(settle())
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    @property
    def budget_s(self) -> float:
        """How long a request waits."""
        return self._link.budget_s


class _Taking:
    """One call that takes, which may be given up at any moment: then what it takes goes back."""

    def __init__(self, limiter: RedisLimiter, claim: Claim, lease: str) -> None:
        self.lease = lease
        self._limiter = limiter
        self._claim = claim
        self._lease_s = max(0.0, claim.demand.deadline - time.monotonic()) + _LEASE_MARGIN_S
        self._taken: list[_Change] = []
        self._is_abandoned = False

    async def run(self, redis: Any) -> tuple[bool, _Readings]:
        """Take, by one call of the script, and a second one only if nobody waits for it any more."""
        claim = self._claim
        changes = [_Change(line, claim.cost(line)) for line in claim.lines]
        is_taken, readings = await self._limiter.ask(redis, self.lease, self._lease_s, changes)
        if is_taken:
            self._taken = [
                replace(change, amount=-change.amount, mark=reading.mark)
                for change, reading in zip(changes, readings, strict=True)
            ]
            if self._is_abandoned:
                await self._limiter.ask(redis, self.lease, 0.0, self._taken)
        return is_taken, readings

    def abandon(self) -> None:
        """Want nothing of it any more."""
        if self._taken:  # it had come to its end at the same moment
            self._limiter.settle(self.lease, self._taken)
        self._is_abandoned = True


class _Reservation:
    """What a request took in Redis."""

    __slots__ = ("_claim", "_is_settled", "_lease", "_limiter", "_readings")

    def __init__(self, limiter: RedisLimiter, claim: Claim, lease: str, readings: _Readings) -> None:
        self._limiter = limiter
        self._claim = claim
        self._lease = lease
        self._readings = readings
        self._is_settled = False

    async def settle(self, tokens: int) -> Sequence[Allowance]:
        """Count what was used instead of what was estimated, as the port says."""
        claim, readings = self._claim, self._readings
        changes = {
            index: _Change(line, change, readings[index].mark)
            for index, line in enumerate(claim.lines)
            if (change := claim.correction(line, tokens))
        }
        if changes and not self._is_settled:
            self._is_settled = True
            task = self._limiter.settle(self._lease, [*changes.values()])
            await asyncio.wait({task}, timeout=self._limiter.budget_s)
            told = task.result() if task.done() else []  # nothing is said without Redis, or too late
            for index, reading in zip(changes, told, strict=False):
                readings[index] = reading
        return claim.rank(readings)


def _spell(change: _Change, now: float) -> tuple[str, float, float, str, int]:
    """Return the values that the script wants for a limit."""
    limit, extra = change.line.limit, ""
    if isinstance(limit, Rate):
        extra = repr(limit.rule.amount / _MICROSECONDS)
    elif isinstance(limit, Quota):
        extra = ",".join(f"{mark * _MICROSECONDS:.0f}" for mark in limit.marks(now))
    return limit.kind, change.amount, limit.most + limit.slack, extra, round(change.mark * _MICROSECONDS)
