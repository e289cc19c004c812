import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.records import MemoryRecords

from headrace.errors import (
    AccessDenied,
    IdempotencyFull,
    IdempotencyLost,
    IdempotencyReused,
    IdempotencyRunning,
    RecordsUnusable,
    RequestInvalid,
)
from headrace.idempotency import KEPT, MOST, Idempotency
from headrace.types import Caller, Scope

ADA = Caller("ada", frozenset({Scope.KEYS}))


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Work:
    """Is done, and counts how often."""

    def __init__(self) -> None:
        self.records, self.clock = MemoryRecords(), Clock()
        self.once = Idempotency(self.records, self.clock)
        self.done = 0
        self.fails: BaseException | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def ask(self, key: str = "k", asked: bytes = b"a", caller: Caller = ADA) -> bytes:
        async with self.once.turn(caller, Scope.KEYS, key, asked) as turn:
            if turn.answer is not None:
                return turn.answer
            await self.may_end.wait()
            if self.fails is not None:
                raise self.fails
            self.done += 1
            answer = b"%d" % self.done
            turn.keep(answer)
            return answer


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_it_is_done_once(work: Work):
    assert [await work.ask() for _ in range(3)] == [b"1", b"1", b"1"]
    assert await work.ask("another") == b"2"


async def test_another_request_has_another_key(work: Work):
    await work.ask()
    with pytest.raises(IdempotencyReused):
        await work.ask(asked=b"b")
    assert work.done == 1


async def test_a_key_is_the_callers_own(work: Work):
    for caller in (ADA, Caller("bob", ADA.scopes), Caller("ada", ADA.scopes, "acme")):
        await work.ask(asked=caller.tenant.encode() + caller.name.encode(), caller=caller)
    assert work.done == 3


async def test_while_it_runs_whoever_asks_is_told_to_wait(work: Work):
    work.may_end.clear()
    first = asyncio.create_task(work.ask())
    while not work.records.requests:
        await asyncio.sleep(0.001)
    with pytest.raises(IdempotencyRunning) as caught:
        await work.ask()
    assert caught.value.retry_after_s == 1
    with pytest.raises(IdempotencyReused):
        await work.ask(asked=b"b")
    work.may_end.set()
    assert [await first, await work.ask()] == [b"1", b"1"]


async def test_of_many_at_the_same_time_one_is_done(work: Work):
    outcomes = await asyncio.gather(*(work.ask() for _ in range(100)), return_exceptions=True)
    assert work.done == 1
    assert {type(outcome) for outcome in outcomes} <= {bytes, IdempotencyRunning}


async def test_what_failed_may_be_asked_again_also_otherwise(work: Work):
    work.fails = RequestInvalid("no")
    with pytest.raises(RequestInvalid):
        await work.ask()
    work.fails = None
    assert await work.ask(asked=b"b") == b"1"


@pytest.mark.parametrize("fails", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_what_nobody_knows_the_end_of_is_not_done_again(work: Work, fails: BaseException):
    work.fails = fails
    with pytest.raises(type(fails)):
        await work.ask()
    work.fails = None
    with pytest.raises(IdempotencyRunning):
        await work.ask()
    work.clock.now += timedelta(minutes=10)
    with pytest.raises(IdempotencyLost):
        await work.ask()
    assert work.done == 0


async def test_it_is_forgotten_after_a_day(work: Work):
    await work.ask()
    work.clock.now += KEPT
    assert await work.ask() == b"1"
    work.clock.now += timedelta(milliseconds=1)
    assert await work.ask() == b"2"
    assert len(work.records.requests) == 1


async def test_who_may_not_gets_nothing_kept(work: Work):
    with pytest.raises(AccessDenied):
        await work.ask(caller=Caller("eve", frozenset({Scope.INFER})))
    assert work.records.requests == {}


async def test_one_caller_does_not_fill_it(work: Work):
    for number in range(MOST):
        await work.ask(str(number))
    with pytest.raises(IdempotencyFull) as caught:
        await work.ask("one more")
    assert caught.value.retry_after_s == KEPT.total_seconds()
    assert await work.ask("0") == b"1"
    assert await work.ask(caller=Caller("bob", ADA.scopes)) == b"%d" % (MOST + 1)


async def test_nothing_is_done_that_cannot_be_kept(work: Work):
    work.records.is_gone = True
    with pytest.raises(RecordsUnusable):
        await work.ask()
    assert work.done == 0


async def test_what_was_done_is_answered_also_if_its_answer_cannot_be_kept(work: Work):
    work.may_end.clear()
    first = asyncio.create_task(work.ask())
    while not work.records.requests:
        await asyncio.sleep(0.001)
    work.records.is_gone = True
    work.may_end.set()
    assert await first == b"1"
    work.records.is_gone = False
    with pytest.raises(IdempotencyRunning):
        await work.ask()
