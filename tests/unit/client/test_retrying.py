"""Asking again: what, when, how often."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.retrying import Clock, Retrying
from headrace.errors import (
    CallerUnknown,
    EngineUnavailable,
    HeadraceError,
    LimitExceeded,
    QueueFull,
    RequestInvalid,
    ServerUnreachable,
    TimeoutElapsed,
)


class Scripted:
    """A server that fails as it is told, and time that passes as it is told."""

    def __init__(self, *failures: HeadraceError, draw: float = 1.0, takes_s: float = 0.0) -> None:
        self.failures = list(failures)
        self.now = 100.0
        self.takes_s = takes_s
        self.slept: list[float] = []
        self.left: list[float] = []
        self.clock = Clock(lambda: self.now, self._sleep, lambda: draw)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def ask(self, left_s: float) -> str:
        self.left.append(left_s)
        self.now += self.takes_s
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


async def test_what_may_succeed_later_is_asked_again_after_ever_longer_pauses():
    server = Scripted(ServerUnreachable("a"), EngineUnavailable("b"), QueueFull("c"))
    assert await Retrying(3, server.clock).run(server.ask, 30) == "answer"
    assert server.slept == pytest.approx([0.1, 0.2, 0.4])
    assert server.left == pytest.approx([30, 29.9, 29.7, 29.3])  # the deadline stays where it is


async def test_the_pause_is_drawn_and_never_over_its_limit():
    server = Scripted(*[QueueFull("a")] * 9, draw=0.5)
    assert await Retrying(9, server.clock).run(server.ask, 300) == "answer"
    assert server.slept == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5])


async def test_the_server_says_when():
    server = Scripted(LimitExceeded("a", retry_after_s=7), draw=0.0)
    assert await Retrying(3, server.clock).run(server.ask, 30) == "answer"
    assert server.slept == [7]


@pytest.mark.parametrize("error", [RequestInvalid("a"), CallerUnknown("b")])
async def test_what_stays_wrong_is_asked_once(error: HeadraceError):
    server = Scripted(error)
    with pytest.raises(type(error)):
        await Retrying(3, server.clock).run(server.ask, 30)
    assert (len(server.left), server.slept) == (1, [])


async def test_nobody_waits_for_what_comes_too_late():
    server = Scripted(QueueFull("a", retry_after_s=31))
    with pytest.raises(QueueFull):
        await Retrying(3, server.clock).run(server.ask, 30)
    assert server.slept == []
    slow = Scripted(*[ServerUnreachable("a")] * 4, takes_s=14.95)
    with pytest.raises(ServerUnreachable):
        await Retrying(3, slow.clock).run(slow.ask, 30)
    assert slow.left == pytest.approx([30, 14.95])


async def test_the_last_attempt_says_why():
    server = Scripted(ServerUnreachable("a"), QueueFull("b"), EngineUnavailable("c"))
    with pytest.raises(EngineUnavailable):
        await Retrying(2, server.clock).run(server.ask, 30)
    assert len(server.left) == 3


async def test_what_never_answers_is_given_up():
    with pytest.raises(TimeoutElapsed, match=r"within 0\.01 s"):
        await Retrying(0).run(lambda _: asyncio.sleep(60), 0.01)


@given(st.lists(st.booleans(), max_size=300))
def test_a_server_that_is_away_is_asked_at_most_a_tenth_more(outcomes: list[bool]):
    server = Scripted()

    async def ask() -> None:
        retrying = Retrying(3, server.clock)
        for is_good in outcomes:
            server.failures = [] if is_good else [QueueFull("a")] * 4
            try:
                await retrying.run(server.ask, 1000)
            except QueueFull:
                assert not is_good

    asyncio.run(ask())
    assert len(server.left) <= len(outcomes) * 1.1 + 10
