"""What every limiter must do."""

import asyncio
import time

import pytest

from headrace.allowance import Allowance
from headrace.errors import LimitExceeded
from headrace.limits.base import Demand, Limiter, Reservation
from headrace.settings import Rule
from headrace.settings.rules import read_rules
from headrace.types import Caller, Scope

DAY_S = 86_400.0
ODD_NAMES = ["", " ", "a:b", "a", "b", "*", "requests:ada", "über", "\udcff", "\x00", "\n{}%", "x" * 5000]


class Clock:
    """A clock that a test moves, which begins 1000 s after the begin of a day, a month and a year."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def demand(caller: str = "ada", tokens: int = 10, *, tenant: str = "", model: str = "m", seconds: float = 30) -> Demand:
    """Return what a request is going to use, which is estimated as so many tokens."""
    texts = ("x" * (4 * (tokens - 2)),) if tokens else ()
    wanted = Demand(Caller(caller, frozenset(Scope), tenant), model, texts, None, time.monotonic() + seconds)
    assert wanted.estimate() == tokens
    return wanted


async def left(limiter: Limiter, wanted: Demand) -> Allowance:
    """Send a request that uses what was estimated, and return what is left of the limit that is nearest to its end."""
    reservation = await limiter.acquire(wanted)
    return (await reservation.settle(wanted.estimate()))[0]


async def refused(limiter: Limiter, wanted: Demand) -> LimitExceeded:
    """Send a request, and return why it is refused."""
    with pytest.raises(LimitExceeded) as caught:
        await limiter.acquire(wanted)
    return caught.value


class LimiterContract:
    """Inherit, and make the limiter; it must read the time from ``clock``, also that of the calendar."""

    def make_limiter(self, rules: tuple[Rule, ...], clock: Clock) -> Limiter:
        """Return a limiter that has seen no caller."""
        raise NotImplementedError

    def make(self, rules: str, clock: Clock | None = None) -> Limiter:
        """Return a limiter as the option would be written."""
        return self.make_limiter(read_rules(rules), clock or Clock())

    async def test_a_burst_passes_and_the_next_request_is_refused(self) -> None:
        limiter = self.make("2 requests/s burst=3")
        for _ in range(3):
            await limiter.acquire(demand())
        refusal = await refused(limiter, demand())
        assert refusal.retry_after_s == pytest.approx(0.5)
        assert "'ada' is over 2 requests per second (and 3 at once); ask again in 0.500 s" in refusal.message
        assert refusal.limit == "requests"

    async def test_a_refused_caller_that_waits_as_told_is_admitted(self) -> None:
        clock = Clock()
        limiter = self.make("3 requests/s burst=1", clock)
        await limiter.acquire(demand())
        clock.now += (await refused(limiter, demand())).retry_after_s or 0.0
        await limiter.acquire(demand())

    async def test_a_refusal_takes_nothing(self) -> None:
        clock = Clock()
        limiter = self.make("1 requests/s burst=1", clock)
        await limiter.acquire(demand())
        for _ in range(5):
            await refused(limiter, demand())
        clock.now += 1.0
        await limiter.acquire(demand())

    async def test_the_allowance_comes_back_at_the_rate_and_no_further_than_the_burst(self) -> None:
        clock = Clock()
        limiter = self.make("1 tokens/s burst=20", clock)
        await limiter.acquire(demand(tokens=20))
        clock.now += 3600
        await limiter.acquire(demand(tokens=20))
        await refused(limiter, demand(tokens=2))

    async def test_callers_do_not_share_an_allowance(self) -> None:
        limiter = self.make("1 requests/s burst=1")
        await limiter.acquire(demand("ada"))
        await limiter.acquire(demand("bob"))
        await refused(limiter, demand("ada"))

    async def test_names_however_odd_are_never_taken_for_each_other(self) -> None:
        limiter = self.make("1 requests/day; 1 requests/day tenant=*; 1 requests/day model=*")
        for name in ODD_NAMES:
            await limiter.acquire(demand(name, tenant=f"of {name}", model=f"by {name}"))
        await limiter.acquire(demand("c", tenant="a:b"))
        await limiter.acquire(demand("b:c", tenant="a"))
        for name in ODD_NAMES:
            await refused(limiter, demand(name, tenant=f"of {name}", model=f"by {name}"))

    async def test_what_is_left_is_told(self) -> None:
        clock = Clock()
        limiter = self.make("2 requests/s burst=3", clock)
        told = [await left(limiter, demand()) for _ in range(3)]
        assert [(each.limit, each.unit, each.quota, each.window_s, each.remaining) for each in told] == [
            ("requests", "requests", 3, 1.5, 2),
            ("requests", "requests", 3, 1.5, 1),
            ("requests", "requests", 3, 1.5, 0),
        ]
        assert [each.reset_s for each in told] == pytest.approx([0.5, 1.0, 1.5])
        assert (await refused(limiter, demand())).allowances == (told[-1],)
        clock.now += 0.5
        assert (await left(limiter, demand())).remaining == 0

    @pytest.mark.parametrize("rate", [0.3, 1.5, 3.0, 7.0, 333.0])
    async def test_as_many_pass_as_are_said_to_be_left(self, rate: float) -> None:
        limiter = self.make(f"{rate} requests/s burst=20")
        remaining = (await left(limiter, demand())).remaining
        for number in range(remaining - 1, -1, -1):
            assert (await left(limiter, demand())).remaining == number
        await refused(limiter, demand())

    async def test_without_a_rule_every_request_passes(self) -> None:
        limiter = self.make("")
        for _ in range(100):
            assert await (await limiter.acquire(demand(tokens=10**6))).settle(10**7) == ()

    async def test_nor_is_one_held_up_that_no_rule_is_for(self) -> None:
        limiter = self.make("1 requests/day caller=bob; 1 requests/day tenant=acme; 1 requests/day model=other")
        for _ in range(10):
            assert await (await limiter.acquire(demand())).settle(10) == ()

    # Tokens

    async def test_what_was_estimated_too_high_comes_back(self) -> None:
        limiter = self.make("1 tokens/s burst=100")
        reservation = await limiter.acquire(demand(tokens=90))
        await refused(limiter, demand(tokens=20))
        assert (await reservation.settle(5))[0].remaining == 95
        await limiter.acquire(demand(tokens=95))

    async def test_what_was_estimated_too_low_is_a_debt_that_time_pays(self) -> None:
        clock = Clock()
        limiter = self.make("10 tokens/s burst=100", clock)
        (told,) = await (await limiter.acquire(demand(tokens=10))).settle(250)
        assert told.remaining == 0
        assert told.reset_s == pytest.approx(25)
        refusal = await refused(limiter, demand(tokens=50))
        assert refusal.retry_after_s == pytest.approx(20)
        assert "is over 10 tokens per second (and 100 at once), and this request takes about 50" in refusal.message
        clock.now += 20
        await limiter.acquire(demand(tokens=50))

    async def test_a_request_that_is_over_all_that_may_be_is_refused_without_a_time(self) -> None:
        for rules in ("1 tokens/s burst=20", "20 tokens/day"):
            limiter = self.make(rules)
            refusal = await refused(limiter, demand(tokens=10**9 // 4))
            assert refusal.retry_after_s is None
            assert "takes about 250000000 tokens, and all that it may is 20" in refusal.message
            await limiter.acquire(demand(tokens=20))

    async def test_a_request_without_tokens_passes_also_in_debt_of_none(self) -> None:
        limiter = self.make("1 tokens/s burst=20")
        await (await limiter.acquire(demand(tokens=20))).settle(20)
        await (await limiter.acquire(demand(tokens=0))).settle(0)

    async def test_settling_twice_counts_once(self) -> None:
        limiter = self.make("1 tokens/s burst=100; 2 concurrent")
        await limiter.acquire(demand(tokens=50))
        reservation = await limiter.acquire(demand(tokens=50))
        await reservation.settle(20)
        await reservation.settle(0)
        await refused(limiter, demand(tokens=31))
        await limiter.acquire(demand(tokens=30))
        assert (await refused(limiter, demand(tokens=2))).retry_after_s is not None

    # Requests at once

    async def test_so_many_run_at_once_and_one_that_ends_makes_room(self) -> None:
        limiter = self.make("2 concurrent")
        first, second = [await limiter.acquire(demand()) for _ in range(2)]
        refusal = await refused(limiter, demand())
        assert refusal.retry_after_s is None
        assert "'ada' has 2 requests running and at most 2 may; ask again when one has ended" in refusal.message
        await limiter.acquire(demand("bob"))
        (told,) = await first.settle(0)
        assert (told.unit, told.remaining, told.window_s, told.reset_s) == ("concurrent-requests", 1, None, None)
        await limiter.acquire(demand())
        await refused(limiter, demand())
        await second.settle(10**6)
        await limiter.acquire(demand())

    async def test_one_that_is_refused_takes_no_place(self) -> None:
        limiter = self.make("1 concurrent; 20 tokens/day")
        await refused(limiter, demand(tokens=21))
        reservation = await limiter.acquire(demand(tokens=20))
        await reservation.settle(0)
        await limiter.acquire(demand(tokens=20))

    # Quotas

    @pytest.mark.parametrize(
        ("period", "length_s", "begin"),
        [("day", DAY_S, "1970-01-02T00:00Z"), ("month", 31 * DAY_S, "1970-02-01T00:00Z")],
    )
    async def test_a_quota_begins_anew_with_its_period(self, period: str, length_s: float, begin: str) -> None:
        clock = Clock()
        limiter = self.make(f"3 requests/{period}", clock)
        for number in (2, 1, 0):
            told = await left(limiter, demand())
            assert (told.limit, told.quota, told.remaining) == (f"requests-{period}", 3, number)
            assert told.window_s == length_s
            assert told.reset_s == pytest.approx(length_s - 1000)
        refusal = await refused(limiter, demand())
        assert refusal.retry_after_s == pytest.approx(length_s - 1000)
        assert f"has used 3 of 3 requests of this {period}; they begin anew at {begin}" in refusal.message
        clock.now = length_s - 0.001
        await refused(limiter, demand())
        clock.now = length_s
        assert (await left(limiter, demand())).remaining == 2

    async def test_months_are_as_long_as_they_are(self) -> None:
        clock = Clock(951_782_400.0)  # 2000-02-29T00:00Z, of a leap year that a century begins with
        limiter = self.make("1 requests/month", clock)
        await limiter.acquire(demand())
        assert (await refused(limiter, demand())).retry_after_s == pytest.approx(DAY_S)
        clock.now += DAY_S
        assert (await left(limiter, demand())).window_s == 31 * DAY_S

    async def test_what_was_taken_in_a_day_that_is_over_gives_the_next_nothing(self) -> None:
        clock = Clock()
        limiter = self.make("100 tokens/day", clock)
        reservation = await limiter.acquire(demand(tokens=60))
        clock.now = DAY_S + 1
        await limiter.acquire(demand(tokens=60))
        assert (await reservation.settle(0))[0].remaining == 40
        await refused(limiter, demand(tokens=41))

    async def test_a_debt_of_a_quota_ends_with_its_period(self) -> None:
        clock = Clock()
        limiter = self.make("100 tokens/day", clock)
        await (await limiter.acquire(demand(tokens=10))).settle(1000)
        assert (await refused(limiter, demand())).retry_after_s == pytest.approx(DAY_S - 1000)
        clock.now = DAY_S
        await limiter.acquire(demand(tokens=100))

    async def test_a_clock_that_is_set_back_a_little_begins_no_day_twice(self) -> None:
        clock = Clock(DAY_S + 0.5)
        limiter = self.make("1 requests/day", clock)
        await limiter.acquire(demand())
        clock.now -= 1
        refusal = await refused(limiter, demand())
        assert refusal.retry_after_s == pytest.approx(DAY_S + 0.5)

    async def test_a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_it_was_told(self) -> None:
        clock = Clock(10 * DAY_S)
        limiter = self.make("1 requests/s burst=1; 5 requests/day", clock)
        await limiter.acquire(demand())
        clock.now -= 5 * DAY_S
        refusal = await refused(limiter, demand())
        assert refusal.retry_after_s == pytest.approx(1)
        clock.now += 1
        await limiter.acquire(demand())

    # Several

    async def test_all_are_taken_or_none(self) -> None:
        limiter = self.make("1 requests/s burst=5; 100 tokens/day; 1 requests/day model=big")
        await limiter.acquire(demand(tokens=90))
        for _ in range(10):
            assert (await refused(limiter, demand(tokens=11))).limit == "tokens-day"
        await limiter.acquire(demand(tokens=2, model="big"))
        for _ in range(10):
            assert (await refused(limiter, demand(tokens=2, model="big"))).limit == "requests-day-model"
        for _ in range(3):
            await limiter.acquire(demand(tokens=2))
        assert (await refused(limiter, demand(tokens=2))).limit == "requests"

    async def test_of_several_refusals_the_longest_is_told(self) -> None:
        limiter = self.make("1 concurrent; 1 requests/s burst=1; 1 requests/day")
        await limiter.acquire(demand())
        refusal = await refused(limiter, demand())
        assert refusal.limit == "requests-day"
        assert [each.limit for each in refusal.allowances] == ["requests-day", "concurrent", "requests"]

    async def test_nor_is_a_time_told_where_another_limit_never_has_room(self) -> None:
        limiter = self.make("20 tokens/s; 1 requests/day")
        await limiter.acquire(demand())
        refusal = await refused(limiter, demand(tokens=21))
        assert (refusal.limit, refusal.retry_after_s) == ("tokens", None)

    async def test_the_limit_that_is_nearest_to_its_end_comes_first(self) -> None:
        limiter = self.make("10 requests/day; 100 tokens/day; 100 requests/month")
        told = await (await limiter.acquire(demand(tokens=4))).settle(4)
        assert [(each.limit, each.remaining) for each in told] == [
            ("requests-day", 9),
            ("tokens-day", 96),
            ("requests-month", 99),
        ]
        told = await (await limiter.acquire(demand(tokens=50))).settle(90)
        assert (told[0].limit, told[0].remaining) == ("tokens-day", 6)

    async def test_of_rules_that_count_the_same_the_first_that_fits_holds(self) -> None:
        limiter = self.make("3 requests/day caller=vip; 1 requests/day; 2 requests/day model=*")
        for _ in range(2):
            await limiter.acquire(demand("vip"))
        assert (await refused(limiter, demand("vip"))).limit == "requests-day-model"
        await limiter.acquire(demand("vip", model="another"))
        await limiter.acquire(demand())
        assert (await refused(limiter, demand(model="another"))).limit == "requests-day"

    async def test_a_tenant_s_callers_are_counted_together_and_each(self) -> None:
        limiter = self.make("3 requests/day tenant=*; 2 requests/day tenant=acme caller=*")
        for _ in range(2):
            await limiter.acquire(demand("ada", tenant="acme"))
        assert (await refused(limiter, demand("ada", tenant="acme"))).limit == "requests-day-tenant-caller"
        await limiter.acquire(demand("bob", tenant="acme"))
        refusal = await refused(limiter, demand("bob", tenant="acme"))
        assert "the tenant 'acme' has used 3 of 3 requests of this day" in refusal.message
        for _ in range(3):
            await limiter.acquire(demand("ada", tenant="other"))
        for _ in range(3):
            await limiter.acquire(demand())
        assert "whoever has no tenant" in (await refused(limiter, demand())).message

    async def test_a_refusal_names_the_model(self) -> None:
        limiter = self.make("1 concurrent model=*")
        await limiter.acquire(demand(model="big"))
        assert (
            "'ada' at the model 'big' has 1 requests running" in (await refused(limiter, demand(model="big"))).message
        )

    async def test_callers_at_the_same_time_get_exactly_what_there_is(self) -> None:
        limiter = self.make("1 requests/day caller=nobody; 20 requests/day; 200 tokens/month; 7 concurrent")
        found = await asyncio.gather(*(limiter.acquire(demand()) for _ in range(12)), return_exceptions=True)
        taken = [each for each in found if not isinstance(each, BaseException)]
        assert len(taken) == 7
        assert all(isinstance(each, LimitExceeded) for each in found if isinstance(each, BaseException))
        await _settle_all(taken, 1)
        again = [await limiter.acquire(demand()) for _ in range(7)]
        await _settle_all(again, 1)
        assert (await left(limiter, demand())).remaining == 5


async def _settle_all(reservations: list[Reservation], tokens: int) -> None:
    await asyncio.gather(*(each.settle(tokens) for each in reservations))
