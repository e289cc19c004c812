"""The limiter in Redis by a clock of the test's, and a model of what limits mean: slow, and too simple to be wrong."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tests.contracts.limits import Clock, demand

from headrace.errors import LimitExceeded
from headrace.limits.base import Demand, Limiter, Reservation
from headrace.limits.redis import RedisLimiter
from headrace.redis import RedisLink
from headrace.settings import Rule

_TIME = "redis.call('TIME')"
_SEEN_TIME = "{redis.call('GET', 'clock:seconds'), redis.call('GET', 'clock:rest')}"
# What is kept ends by Redis' own clock, while that of the test stands still or leaps.
_ENDS = ("'PX', string.format('%.0f', lives_ms)", "redis.call('PEXPIRE', line.key, lives_ms)")
_DAY_S = 86_400
_LONG_S = 1e9  # no request comes to its deadline


def with_clock_of_test(script: str) -> str:
    """Return the script so that it reads the time where a test has written it."""
    assert script.count(_TIME) == 1
    script = script.replace(_TIME, _SEEN_TIME)
    for end in _ENDS:
        assert script.count(end) == 1
        script = script.replace(end, "'KEEPTTL'" if end.startswith("'PX'") else "")
    return script


class ClockedLimiter(RedisLimiter):
    """Reads the time from a clock of the test; its own goes wrong by ``off_s``."""

    off_s = 0.0

    def __init__(self, link: RedisLink, rules: Sequence[Rule], otherwise: Limiter, clock: Clock) -> None:
        super().__init__(link, rules, otherwise, lambda: clock.now + self.off_s)
        self._clock = clock

    async def ask(self, redis: Any, *args: Any) -> Any:
        microseconds = round(self._clock.now * 1e6)
        await redis.mset({"clock:seconds": microseconds // 1_000_000, "clock:rest": microseconds % 1_000_000})
        return await super().ask(redis, *args)


class Model:
    """One rate of requests, one of tokens, one quota of tokens in a day and one limit on requests at once.

    Everything is an exact number, and what is used is counted anew from all that ever happened.
    """

    REQUESTS_PER_S, REQUESTS_BURST = 2, 5
    TOKENS_PER_S, TOKENS_BURST = 8, 64
    TOKENS_PER_DAY = 400
    AT_ONCE = 3
    RULES = "2 requests/s burst=5; 8 tokens/s burst=64; 400 tokens/day; 3 concurrent"

    def __init__(self) -> None:
        self._events: list[tuple[Fraction, str, int]] = []  # when, which bucket, how much more it holds
        self._day: dict[int, int] = {}
        self.running = 0

    def level(self, bucket: str, per_s: int, now: Fraction) -> Fraction:
        level, at = Fraction(0), Fraction(0)
        for when, which, amount in self._events:
            if which == bucket:
                level = max(Fraction(0), max(Fraction(0), level - (when - at) * per_s) + amount)
                at = when
        return max(Fraction(0), level - (now - at) * per_s)

    def admits(self, tokens: int, now: Fraction) -> bool:
        return (
            self.level("requests", self.REQUESTS_PER_S, now) + 1 <= self.REQUESTS_BURST
            and self.level("tokens", self.TOKENS_PER_S, now) + tokens <= self.TOKENS_BURST
            and self._day.get(int(now // _DAY_S), 0) + tokens <= self.TOKENS_PER_DAY
            and self.running < self.AT_ONCE
        )

    def take(self, tokens: int, now: Fraction) -> None:
        self._events += [(now, "requests", 1), (now, "tokens", tokens)]
        self._add_to_day(int(now // _DAY_S), tokens)
        self.running += 1

    def settle(self, taken_at: Fraction, change: int, now: Fraction) -> None:
        self._events.append((now, "tokens", change))
        if int(taken_at // _DAY_S) == int(now // _DAY_S):
            self._add_to_day(int(now // _DAY_S), change)
        self.running -= 1

    def _add_to_day(self, day: int, tokens: int) -> None:
        self._day[day] = max(0, self._day.get(day, 0) + tokens)


Step = tuple[str, int, int]
"""``acquire`` with tokens, at a replica; ``settle`` with tokens, of a request; ``wait`` for quarters of a second."""


async def compare_with_model(replicas: Sequence[Limiter], clock: Clock, steps: Sequence[Step]) -> int:
    """Do the same with limiters that count together and with the model of each caller; returns how many were admitted.

    Raises:
        AssertionError: They disagree on something.
    """
    models = {caller: Model() for caller in ("ada", "bob")}
    running: list[tuple[Reservation, str, int, Fraction]] = []
    admitted = 0
    for kind, amount, which in steps:
        now = Fraction(clock.now)
        if kind == "wait":
            clock.now += amount * 0.25 if which else amount * 3600.0
        elif kind == "acquire":
            caller = "ada" if which % 3 else "bob"
            expected = models[caller].admits(amount, now)
            wanted = demand(caller, amount, seconds=_LONG_S)
            reservation = await _acquire(replicas[which % len(replicas)], wanted)
            assert (reservation is not None) == expected, f"{caller} with {amount} tokens"
            if reservation is not None:
                models[caller].take(amount, now)
                running.append((reservation, caller, amount, now))
                admitted += 1
        elif running:
            reservation, caller, taken, taken_at = running.pop(which % len(running))
            told = await reservation.settle(amount)
            models[caller].settle(taken_at, amount - taken, now)
            (places,) = [each.remaining for each in told if each.limit == "concurrent"]
            assert places == Model.AT_ONCE - models[caller].running
    return admitted


async def _acquire(limiter: Limiter, wanted: Demand) -> Reservation | None:
    try:
        return await limiter.acquire(wanted)
    except LimitExceeded:
        return None
