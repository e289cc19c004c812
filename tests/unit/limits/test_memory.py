import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.limits import DAY_S, Clock, demand
from tests.support.limits import Model, Step, compare_with_model

from headrace.errors import LimitExceeded
from headrace.limits.memory import MemoryLimiter
from headrace.settings.rules import read_rules

RATES = st.floats(0.01, 10_000)
BURSTS = st.integers(1, 50)
STEPS = st.lists(st.floats(0, 20), min_size=1, max_size=60)
CLOCK_ERROR_S = 1e-6
KINDS = st.sampled_from(["acquire", "acquire", "settle", "wait"])


def limiter_of(rules: str, clock: Clock | None = None, max_callers: int = 10) -> MemoryLimiter:
    clock = clock or Clock()
    return MemoryLimiter(read_rules(rules), max_callers, clock, clock)


def rate_of(rate: float, burst: int, clock: Clock, counted: str = "requests") -> MemoryLimiter:
    return limiter_of(f"{rate:f} {counted}/s burst={burst}", clock)


def admitted(limiter: MemoryLimiter, caller: str = "ada", tokens: int = 0) -> bool:
    try:
        asyncio.run(limiter.acquire(demand(caller, tokens)))
    except LimitExceeded:
        return False
    return True


def refusal(limiter: MemoryLimiter) -> float:
    """Send a request and return how long it has to wait, 0 if it is admitted."""
    try:
        asyncio.run(limiter.acquire(demand()))
    except LimitExceeded as error:
        return error.retry_after_s or -1.0
    return 0.0


@given(steps=st.lists(st.tuples(KINDS, st.integers(2, 80) | st.just(0), st.integers(0, 11)), max_size=80))
def test_it_does_what_the_limits_mean(steps: list[Step]) -> None:
    clock = Clock()
    asyncio.run(compare_with_model([limiter_of(Model.RULES, clock)], clock, steps))


@given(rate=RATES, burst=BURSTS, steps=STEPS)
def test_no_window_holds_more_than_the_burst_and_the_rate_times_its_length(
    rate: float, burst: int, steps: list[float]
) -> None:
    clock = Clock()
    limiter = rate_of(rate, burst, clock)
    times: list[float] = []
    for step in steps:
        clock.now += step / rate
        times += [clock.now for _ in range(3) if admitted(limiter)]
    for first in range(len(times)):
        for last in range(first, len(times)):
            allowed = burst + rate * (times[last] - times[first] + CLOCK_ERROR_S)
            assert last - first + 1 <= allowed + 1e-4


@given(rate=RATES, burst=st.integers(20, 50), start=st.floats(0, 2**30), pause=st.floats(0, 10))
def test_whoever_waits_as_told_is_admitted(rate: float, burst: int, start: float, pause: float) -> None:
    clock = Clock(start)
    limiter = rate_of(rate, burst, clock, "tokens")
    assert admitted(limiter, tokens=burst)
    clock.now += pause / rate
    wait_s = refusal(limiter)
    assert 0 <= wait_s <= burst / rate + CLOCK_ERROR_S
    clock.now += wait_s
    assert wait_s == 0 or admitted(limiter, tokens=10)


Used = st.lists(st.tuples(st.integers(2, 50), st.integers(0, 500), st.floats(0, 30)), min_size=1, max_size=40)


@given(used=Used)
def test_in_the_long_run_no_more_is_computed_than_the_rate_allows(used: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    limiter = limiter_of("10 tokens/s burst=50", clock)
    begun, computed = clock.now, 0
    for estimated, real, pause in used:
        clock.now += pause
        try:
            reservation = asyncio.run(limiter.acquire(demand(tokens=estimated)))
        except LimitExceeded:
            continue
        asyncio.run(reservation.settle(real))
        # Over it by what the last request took more than was estimated; time pays that before there is another one.
        assert computed + estimated <= 50 + 10 * (clock.now - begun) + 1e-3
        computed += real


@given(order=st.lists(st.sampled_from(["ada", "bob"]), max_size=40))
def test_a_caller_gets_the_same_with_others_as_alone(order: list[str]) -> None:
    shared = limiter_of("1 requests/s burst=3; 5 requests/day")
    alone = {name: limiter_of("1 requests/s burst=3; 5 requests/day") for name in ("ada", "bob")}
    for name in order:
        assert admitted(shared, name) == admitted(alone[name], name)


def test_callers_are_bounded_and_those_with_a_full_allowance_are_forgotten_first() -> None:
    clock = Clock()
    limiter = limiter_of("10 tokens/s burst=20", clock, max_callers=3)
    assert admitted(limiter, "busy", tokens=20)
    assert admitted(limiter, "idle", tokens=10)
    assert admitted(limiter, "idle too", tokens=10)
    clock.now += 1.0
    assert admitted(limiter, "new", tokens=10)
    assert limiter.callers == 2
    assert admitted(limiter, "busy", tokens=10)
    assert not admitted(limiter, "busy", tokens=10)


@pytest.mark.parametrize("rules", ["1 tokens/s burst=30", "30 tokens/day"])
def test_when_all_are_busy_the_one_that_used_the_least_makes_room(rules: str) -> None:
    limiter = limiter_of(rules, max_callers=2)
    assert admitted(limiter, "spent", tokens=30)
    assert admitted(limiter, "nearly full", tokens=10)
    assert admitted(limiter, "new", tokens=10)
    assert limiter.callers == 2
    assert not admitted(limiter, "spent", tokens=10)
    assert admitted(limiter, "nearly full", tokens=30)


def test_a_caller_that_is_known_needs_no_room() -> None:
    limiter = limiter_of("1 requests/s burst=3", max_callers=1)
    assert [admitted(limiter) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("callers", [1, 7])
def test_there_are_never_more_callers_than_allowed(callers: int) -> None:
    limiter = limiter_of("1 requests/s burst=1", max_callers=callers)
    for number in range(20):
        assert admitted(limiter, f"caller {number}")
        assert limiter.callers <= callers


def test_ten_thousand_callers_are_each_counted_alone() -> None:
    limiter = limiter_of("1 requests/s burst=1; 2 requests/day", max_callers=10_000)

    async def ask(number: int) -> bool:
        try:
            await limiter.acquire(demand(f"caller {number}"))
        except LimitExceeded:
            return False
        return True

    async def ask_all() -> list[int]:
        return [sum([await ask(number) for number in range(10_000)]) for _ in range(2)]

    assert asyncio.run(ask_all()) == [10_000, 0]
    assert limiter.callers == 20_000


async def test_whose_requests_run_is_not_forgotten_for_others() -> None:
    limiter = limiter_of("1 concurrent", max_callers=1)
    running = [await limiter.acquire(demand(f"caller {number}")) for number in range(5)]
    for number in range(5):
        with pytest.raises(LimitExceeded):
            await limiter.acquire(demand(f"caller {number}"))
    for each in running:
        await each.settle(0)
    assert limiter.callers == 0


def test_a_refused_stranger_is_not_remembered() -> None:
    limiter = limiter_of("1 tokens/s burst=5")
    assert not admitted(limiter, tokens=6)
    assert limiter.callers == 0


async def test_what_came_back_whole_is_not_remembered() -> None:
    limiter = limiter_of("1 tokens/s burst=9; 9 tokens/day; 1 concurrent")
    await (await limiter.acquire(demand(tokens=9))).settle(0)
    assert limiter.callers == 0


def test_a_day_is_one_of_the_calendar_and_a_second_one_of_a_steady_clock() -> None:
    steady, calendar = Clock(5.0), Clock(20_000 * DAY_S - 1)
    limiter = MemoryLimiter(read_rules("1 requests/s burst=1; 2 requests/day"), 10, steady, calendar)
    assert admitted(limiter)
    calendar.now += 1
    assert not admitted(limiter)
    steady.now += 1
    assert admitted(limiter)
    steady.now += 1
    assert admitted(limiter)
    steady.now += 1
    assert not admitted(limiter)


@settings(max_examples=30)
@given(jumps=st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_a_clock_that_leaps_lets_no_number_get_out_of_bounds(jumps: list[float]) -> None:
    clock = Clock(1e9)
    limiter = limiter_of("1 requests/s burst=2; 3 requests/day; 4 requests/month", clock)
    for jump in jumps:
        clock.now += jump
        try:
            told, wait_s = asyncio.run(asyncio.run(limiter.acquire(demand())).settle(0)), 1.0
        except LimitExceeded as error:
            told, wait_s = error.allowances, error.retry_after_s or 0.0
        assert 0 < wait_s <= 31 * DAY_S + 3600
        assert all(0 <= each.remaining < each.quota + 1 for each in told)
        assert all(each.reset_s is not None and each.reset_s >= 0 for each in told)
