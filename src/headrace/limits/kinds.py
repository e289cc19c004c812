"""The three kinds of limits: how each counts, what is left of it, and when a refused request may come again.

What is kept of a caller is two numbers, the same wherever they are kept: what is used, and a mark in time.
"""

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from headrace.allowance import Allowance
from headrace.settings import Rule

# Two operations on a clock that has run for 30 years (2**30 s) differ by up to 0.24 us: without this, a caller that
# waited exactly as long as it was told could be refused again.
_ROUNDING_S: Final = 1e-6
_ROUNDING: Final = 1e-6  # 2.9999999 of something are 3
_DAY_S: Final = 86_400
LATE_S: Final = 3600.0
"""A clock that is set back by up to this stays in the period that it was in: else that would begin twice."""


class Reading(NamedTuple):  # made in a third of the time of a frozen dataclass, several times for each request
    """What is used of a limit at a moment; what is kept of it is ``used`` and ``mark``.

    Attributes:
        used: How much, which is over the limit where there is a debt.
        mark: Of a quota the begin of its period, of a rate the moment.
        now: The moment, in seconds of the clock that the limit goes by.
    """

    used: float
    mark: float
    now: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What one rule allows.

    Attributes:
        name: Of the rule.
        most: What may be used; ``slack`` more passes for what was lost in rounding.
    """

    rule: Rule
    name: str
    most: int
    slack: float

    kind = ""
    is_calendar = False

    def read(self, used: float, mark: float | None, now: float) -> Reading:
        """Return what is used now, of what was kept; of nothing the mark is nothing."""
        raise NotImplementedError

    def reason(self, reading: Reading, cost: float) -> str:
        """Say why a cost is refused, after who is."""
        raise NotImplementedError

    def wait_s(self, reading: Reading, cost: float) -> float | None:  # noqa: ARG002 - it depends on the kind
        """Return how long a cost has to wait that is too much now; nothing if nobody knows."""
        return None

    def times(self, reading: Reading) -> tuple[float | None, float | None]:  # noqa: ARG002 - as above
        """Return in how many seconds as much as there may be comes back, and all that is used now; nothing as above."""
        return None, None

    def admits(self, reading: Reading, cost: float) -> bool:
        """Tell whether so much more may be used."""
        return reading.used + cost <= self.most + self.slack

    def allowance(self, reading: Reading) -> Allowance:
        """Return what is left."""
        window_s, reset_s = self.times(reading)
        counted = self.rule.counted
        return Allowance(
            limit=self.name,
            unit="concurrent-requests" if counted == "concurrent" else counted,
            quota=self.most,
            window_s=window_s,
            remaining=int(max(0.0, self.most - reading.used + max(self.slack, _ROUNDING))),
            reset_s=reset_s,
        )

    def _needs(self, cost: float) -> str:
        return "" if self.rule.counted == "requests" else f", and this request takes about {cost:.15g}"


@dataclass(frozen=True, slots=True)
class Rate(Limit):
    """So much per second in the long run, and a burst at once: a bucket that what is used flows out of."""

    kind = "rate"

    def read(self, used: float, mark: float | None, now: float) -> Reading:
        """Let out what flowed out since. A clock that was set back lets nothing out, and goes on from there."""
        gone = 0.0 if mark is None else max(0.0, now - mark) * self.rule.amount
        return Reading(max(0.0, used - gone), now, now)

    def wait_s(self, reading: Reading, cost: float) -> float:
        """Return how long until there is room."""
        return (reading.used + cost - self.most) / self.rule.amount

    def times(self, reading: Reading) -> tuple[float, float]:
        """Return in how many seconds a whole burst flows out, and what is in it now."""
        return self.most / self.rule.amount, reading.used / self.rule.amount

    def reason(self, reading: Reading, cost: float) -> str:
        """Say which rate it is, and when there is room."""
        return (
            f"is over {self.rule.amount:.15g} {self.rule.counted} per second (and {self.most} at once)"
            f"{self._needs(cost)}; ask again in {self.wait_s(reading, cost):.3f} s"
        )


@dataclass(frozen=True, slots=True)
class Quota(Limit):
    """So much in a day or a month of the calendar, in UTC."""

    kind = "quota"
    is_calendar = True

    def read(self, used: float, mark: float | None, now: float) -> Reading:
        """Begin anew in a new period."""
        if mark is not None and mark - LATE_S <= now < self._bounds(mark)[1]:
            return Reading(used, mark, now)
        return Reading(0.0, self._bounds(now)[0], now)

    def marks(self, now: float) -> tuple[float, float, float, float]:
        """Return when the period before this one begins, this one, the next, and the one after that."""
        begin, end = self._bounds(now)
        return (self._bounds(begin - 1)[0], begin, end, self._bounds(end)[1])

    def wait_s(self, reading: Reading, cost: float) -> float:  # noqa: ARG002 - all comes back at once
        """Return how long until the next period."""
        return self._bounds(reading.mark)[1] - reading.now

    def times(self, reading: Reading) -> tuple[float, float]:
        """Return how long the period is, and until the next one."""
        begin, end = self._bounds(reading.mark)
        return end - begin, end - reading.now

    def reason(self, reading: Reading, cost: float) -> str:
        """Say what is used up, and when it begins anew."""
        end = datetime.fromtimestamp(self._bounds(reading.mark)[1], UTC)
        return (
            f"has used {reading.used:.15g} of {self.most} {self.rule.counted} of this {self.rule.period}"
            f"{self._needs(cost)}; they begin anew at {end:%Y-%m-%dT%H:%MZ}, in {self.wait_s(reading, cost):.0f} s"
        )

    def _bounds(self, now: float) -> tuple[float, float]:
        return _bounds(self.rule.period == "month", int(now // _DAY_S))


@dataclass(frozen=True, slots=True)
class Concurrency(Limit):
    """So many requests that run at the same time."""

    kind = "concurrency"

    def read(self, used: float, mark: float | None, now: float) -> Reading:  # noqa: ARG002 - no time is part of it
        """Return how many run."""
        return Reading(used, now, now)

    def reason(self, reading: Reading, cost: float) -> str:  # noqa: ARG002 - which is one
        """Say how many run."""
        return f"has {reading.used:g} requests running and at most {self.most} may; ask again when one has ended"


def make_limit(rule: Rule) -> Limit:
    """Return what a rule allows."""
    if rule.period == "s":
        return Rate(rule, rule.name, rule.burst or 1, _ROUNDING + _ROUNDING_S * rule.amount)
    kind = Concurrency if rule.period is None else Quota
    return kind(rule, rule.name, int(rule.amount), 0.0)


@functools.lru_cache(maxsize=64)
def _bounds(is_month: bool, day: int) -> tuple[float, float]:
    """Return when the period that a day since 1970 is in begins and ends."""
    if not is_month:
        return float(day * _DAY_S), float((day + 1) * _DAY_S)
    first = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).replace(day=1)
    after = (first + timedelta(days=31)).replace(day=1)  # no month is longer, and each has 28 days at least
    return first.timestamp(), after.timestamp()
