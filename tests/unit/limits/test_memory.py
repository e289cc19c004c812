import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.limits import Clock

from headrace.errors import LimitExceeded
from headrace.limits.memory import MemoryLimiter

RATES = st.floats(0.01, 10_000)
BURSTS = st.integers(1, 50)
STEPS = st.lists(st.floats(0, 20), min_size=1, max_size=60)
CLOCK_ERROR_S = 1e-6


def admitted(limiter: MemoryLimiter, caller: str = "ada", cost: float = 1.0) -> bool:
    try:
        asyncio.run(limiter.acquire(caller, cost))
    except LimitExceeded:
        return False
    return True


def refusal(limiter: MemoryLimiter) -> float:
    """Send a request and return how long it has to wait, 0 if it is admitted."""
    try:
        asyncio.run(limiter.acquire("ada"))
    except LimitExceeded as error:
        return error.retry_after_s or -1.0
    return 0.0


@given(rate=RATES, burst=BURSTS, steps=STEPS)
def test_no_window_holds_more_than_the_burst_and_the_rate_times_its_length(
    rate: float, burst: int, steps: list[float]
) -> None:
    clock = Clock()
    limiter = MemoryLimiter(rate, burst, 10, clock)
    times: list[float] = []
    for step in steps:
        clock.now += step / rate
        times += [clock.now for _ in range(3) if admitted(limiter)]
    for first in range(len(times)):
        for last in range(first, len(times)):
            allowed = burst + rate * (times[last] - times[first] + CLOCK_ERROR_S)
            assert last - first + 1 <= allowed + 1e-6


@given(rate=RATES, burst=BURSTS, start=st.floats(0, 2**30), pause=st.floats(0, 10))
def test_whoever_waits_as_told_is_admitted(rate: float, burst: int, start: float, pause: float) -> None:
    clock = Clock(start)
    limiter = MemoryLimiter(rate, burst, 10, clock)
    assert admitted(limiter, cost=burst)
    clock.now += pause / rate
    wait_s = refusal(limiter)
    assert 0 <= wait_s <= burst / rate + CLOCK_ERROR_S
    clock.now += wait_s
    assert wait_s == 0 or admitted(limiter)


@given(order=st.lists(st.sampled_from(["ada", "bob"]), max_size=40))
def test_a_caller_gets_the_same_with_others_as_alone(order: list[str]) -> None:
    shared = MemoryLimiter(1.0, 3, 10, Clock())
    alone = {name: MemoryLimiter(1.0, 3, 10, Clock()) for name in ("ada", "bob")}
    for name in order:
        assert admitted(shared, name) == admitted(alone[name], name)


def test_callers_are_bounded_and_those_with_a_full_allowance_are_forgotten_first() -> None:
    clock = Clock()
    limiter = MemoryLimiter(1.0, 2, 3, clock)
    assert admitted(limiter, "busy", cost=2)
    assert admitted(limiter, "idle")
    assert admitted(limiter, "idle too")
    clock.now += 1.0
    assert admitted(limiter, "new")
    assert limiter.callers == 2
    assert admitted(limiter, "busy")
    assert not admitted(limiter, "busy")


def test_when_all_are_busy_the_one_nearest_to_full_makes_room() -> None:
    limiter = MemoryLimiter(1.0, 3, 2, Clock())
    assert admitted(limiter, "spent", cost=3)
    assert admitted(limiter, "nearly full", cost=1)
    assert admitted(limiter, "new")
    assert limiter.callers == 2
    assert not admitted(limiter, "spent")
    assert admitted(limiter, "nearly full", cost=3)


def test_a_caller_that_is_known_needs_no_room() -> None:
    limiter = MemoryLimiter(1.0, 3, 1, Clock())
    assert admitted(limiter, cost=2)
    assert admitted(limiter)
    assert not admitted(limiter)


@pytest.mark.parametrize("callers", [1, 7])
def test_there_are_never_more_callers_than_allowed(callers: int) -> None:
    limiter = MemoryLimiter(1.0, 1, callers, Clock())
    for number in range(20):
        assert admitted(limiter, f"caller {number}")
        assert limiter.callers <= callers


def test_a_refused_stranger_is_not_remembered() -> None:
    limiter = MemoryLimiter(1.0, 1, 10, Clock())
    assert not admitted(limiter, cost=2)
    assert limiter.callers == 0
