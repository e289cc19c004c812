"""What a request uses of its caller's limits, however it ends. With the fake model n words have n + 2 tokens."""

import asyncio

import pytest
from tests.support.services import ServiceUnderTest, ask, service_under_test

from headrace.engine.loaded import LoadedEngine
from headrace.errors import (
    DeadlineExceeded,
    HeadraceError,
    LimitExceeded,
    ModelUnknown,
    OutputInvalid,
    QueueFull,
    RequestInvalid,
)
from headrace.options import Options
from headrace.types import Answer, Request

RULES = "200 tokens/day; 2 concurrent; 100 requests/month"


async def used(it: ServiceUnderTest, request: Request) -> int:
    """Send a request that is remembered, and return how many tokens are used until now."""
    answer = await it.service.run(request)
    assert answer.cached == len(answer.results)
    (tokens,) = [each for each in answer.allowances if each.limit == "tokens-day"]
    (running,) = [each for each in answer.allowances if each.limit == "concurrent"]
    assert running.remaining == running.quota
    return tokens.quota - tokens.remaining


def left_of(answer: Answer, limit: str) -> int:
    (found,) = [each.remaining for each in answer.allowances if each.limit == limit]
    return found


async def test_what_was_computed_counts_and_what_was_remembered_does_not():
    async with service_under_test(rules=RULES) as it:
        answer = await it.service.run(ask("a b c", "d"))
        assert answer.tokens == 8
        assert left_of(answer, "tokens-day") == 192
        again = await it.service.run(ask("a b c", "d", "e e"))
        assert (again.tokens, left_of(again, "tokens-day")) == (12, 188)
        assert left_of(again, "requests-month") == 98


async def test_a_text_that_stands_twice_counts_once():
    async with service_under_test(rules=RULES) as it:
        answer = await it.service.run(ask("a", "a", "a"))
        assert (answer.tokens, left_of(answer, "tokens-day")) == (9, 197)


async def test_a_text_that_another_request_computes_counts_for_that_one():
    async with service_under_test(rules=RULES) as it:
        it.backend.gate.clear()
        both = [asyncio.create_task(it.service.run(ask("a b"))) for _ in range(2)]
        while not it.backend.batches:
            await asyncio.sleep(0.001)
        it.backend.gate.set()
        await asyncio.gather(*both)
        assert await used(it, ask("a b")) == 4


async def test_of_a_request_that_fails_on_one_text_the_others_count():
    async with service_under_test(rules=RULES) as it:
        it.backend.nan = frozenset({"nan"})
        with pytest.raises(OutputInvalid):
            await it.service.run(ask("a b", "nan", "c"))
        assert await used(it, ask("a b", "c")) == 7


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        (lambda: ask("a", model="made-up"), ModelUnknown),
        (ask, RequestInvalid),
        (lambda: ask("a", task="similarity"), RequestInvalid),
    ],
)
async def test_a_request_that_cannot_be_answered_uses_nothing(request_of: object, error: type[HeadraceError]):
    async with service_under_test(rules="1 requests/day; 1 concurrent; 9 tokens/day") as it:
        for _ in range(3):
            with pytest.raises(error):
                await it.service.run(request_of())  # type: ignore[operator]
        await it.service.run(ask("a"))


async def test_a_request_that_is_refused_for_a_full_queue_gives_its_tokens_and_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
):
    async def refuse(*_: object) -> None:
        raise QueueFull("more work waits than is done in time; ask again later")

    async with service_under_test(rules=RULES) as it:
        await it.service.run(ask("known"))
        with monkeypatch.context() as full:
            full.setattr(LoadedEngine, "run", refuse)
            for _ in range(5):
                with pytest.raises(QueueFull):
                    await it.service.run(ask("a", "b", "c"))
        assert await used(it, ask("known")) == 3


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_what_nobody_waits_for_any_more_counts_as_estimated_and_its_place_is_free(how: str):
    async with service_under_test(rules=RULES) as it:
        await it.service.run(ask("known"))
        for number in range(4):
            it.backend.gate.clear()
            texts = [f"{letter * 16} {number}" for letter in "ab"]
            task = asyncio.create_task(it.service.run(ask(*texts, seconds=0.05 if how == "deadline" else 30)))
            await asyncio.sleep(0.02)
            if how == "cancel":
                task.cancel()
            with pytest.raises((DeadlineExceeded, asyncio.CancelledError)):
                await task
            it.backend.gate.set()
        assert await used(it, ask("known")) == 3 + 4 * 2 * (2 + 18 // 4)


@pytest.mark.parametrize("at", range(12))
async def test_whoever_leaves_at_any_moment_leaves_its_place(at: int):
    async with service_under_test(rules="1 concurrent; 1000 tokens/day") as it:
        for number in range(3):
            task = asyncio.create_task(it.service.run(ask(f"text {number}")))
            for _ in range(at):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await it.service.run(ask("a"))


async def test_no_more_run_at_once_than_may():
    async with service_under_test(rules="2 concurrent") as it:
        it.backend.gate.clear()
        running = [asyncio.create_task(it.service.run(ask(f"text {number}"))) for number in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(LimitExceeded, match="2 requests running and at most 2 may"):
            await it.service.run(ask("another"))
        it.backend.gate.set()
        await asyncio.gather(*running)
        await it.service.run(ask("another"))


async def test_a_text_is_estimated_as_no_more_than_the_model_reads():
    async with service_under_test(rules="26 tokens/day") as it:  # the model reads 16 of a text
        await it.service.run(ask("a" * 100))
        with pytest.raises(LimitExceeded, match="one request of 'tester' takes about 32 tokens"):
            await it.service.run(ask("b" * 100, "c" * 100))
        with pytest.raises(LimitExceeded, match="one request of 'tester' takes about 27 tokens"):
            await it.service.run(ask("d" * 100, options=Options(truncate="chunk")))


async def test_a_refusal_says_which_limit_it_was():
    async with service_under_test(rules="1 requests/day") as it:
        await it.service.run(ask("a"))
        with pytest.raises(LimitExceeded):
            await it.service.run(ask("a"))
        assert it.recorder.facts[-1].limit == "requests-day"  # type: ignore[union-attr]
