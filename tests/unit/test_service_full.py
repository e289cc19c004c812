"""Requests that are refused before they are read, since no model could take them."""

import asyncio

import pytest
from tests.support.services import ServiceUnderTest, ask, service_under_test

from headrace.engine import arrivals
from headrace.errors import QueueFull
from headrace.observe.base import RequestFinished
from headrace.settings import EngineSettings


def nobody() -> None:
    """Nobody says who asks."""


async def block(it: ServiceUnderTest) -> "asyncio.Task[object]":
    it.backend.gate.clear()
    blocking = asyncio.create_task(it.service.run(ask("a")))
    while not it.backend.batches:
        await asyncio.sleep(0.001)
    it.recorder.facts.clear()
    return blocking


async def test_with_room_nothing_is_refused():
    async with service_under_test() as it:
        it.service.refuse_if_full(100, nobody)


async def test_without_room_a_request_is_refused():
    async with service_under_test(engine=EngineSettings(max_queued_texts=1)) as it:
        blocking = await block(it)
        with pytest.raises(QueueFull) as refused:
            it.service.refuse_if_full(100, nobody)
        assert (refused.value.retry_after_s or 0) > 0
        assert it.recorder.of(RequestFinished) == []
        it.backend.gate.set()
        await blocking
        it.service.refuse_if_full(100, nobody)


async def test_who_is_on_the_way_counts_until_it_comes_to_run():
    async with service_under_test(engine=EngineSettings(max_queued_texts=3)) as it:
        blocking = await block(it)
        it.service.refuse_if_full(100, nobody)
        it.service.refuse_if_full(100, nobody)
        with pytest.raises(QueueFull):
            it.service.refuse_if_full(100, nobody)
        it.backend.gate.set()
        await blocking
        it.service.refuse_if_full(100, nobody)
        for word in "bcd":
            await it.service.run(ask(word))
        assert not it.service._arrivals._arriving


async def test_who_does_not_come_keeps_nobody_out_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arrivals, "_LIMIT_S", 0.0)
    async with service_under_test(engine=EngineSettings(max_queued_texts=2)) as it:
        blocking = await block(it)
        for _ in range(5):
            it.service.refuse_if_full(100, nobody)
            await asyncio.sleep(0.001)
        it.backend.gate.set()
        await blocking
