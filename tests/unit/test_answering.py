"""Replicas that want the same at the same time: one computes it, and nobody waits for one that does not."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from tests.support.services import ServiceUnderTest, ask, service_under_test, values
from tests.support.shared_cache import FakeSharedCache, Store

from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.errors import DeadlineExceeded

Replicas = tuple[ServiceUnderTest, ServiceUnderTest]


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    """Two that remember together what they have answered; their engines stand still until their gates open."""
    store: Store = {}
    async with contextlib.AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(service_under_test()) for _ in range(2)]
        for each in (first, second):
            each.remember(Results(MemoryCache(1 << 20), FakeSharedCache(store)))
            each.backend.gate.clear()
        yield first, second


async def test_what_another_replica_computes_is_waited_for(replicas: Replicas):
    here, there = replicas
    first, second = await here.begin(ask("a")), await there.begin(ask("a"))
    there.backend.gate.set()
    here.backend.gate.set()
    led, waited = await asyncio.gather(first, second)
    np.testing.assert_array_equal(values(led.results[0]), values(waited.results[0]))
    assert (here.computed, there.computed) == (1, 0)
    assert (await there.service.run(ask("a"))).cached == 1
    assert [len(each.service._answering._flight) for each in replicas] == [0, 0]


async def test_two_that_want_what_the_other_computes_are_both_answered(replicas: Replicas):
    here, there = replicas
    tasks = [await here.begin(ask("a")), await there.begin(ask("b"))]
    tasks += [await here.begin(ask("c", "b", "a")), await there.begin(ask("d", "a", "b", "c"))]
    for each in replicas:
        each.backend.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [len(answer.results) for answer in answers] == [1, 1, 3, 4]
    assert here.computed + there.computed == len("abcd")


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_what_another_replica_gave_up_is_computed_here(replicas: Replicas, how: str):
    here, there = replicas
    limit_s = 3600.0 if how == "cancelled" else 0.1
    doomed = await here.begin(replace(ask("a"), deadline=time.monotonic() + limit_s))
    waiting = await there.begin(ask("a", "b"))
    if how == "cancelled":
        doomed.cancel()
    (ended,) = await asyncio.gather(doomed, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError if how == "cancelled" else DeadlineExceeded)
    there.backend.gate.set()
    answer = await waiting
    assert (len(answer.results), answer.cached, there.computed) == (2, 0, 2)


async def test_a_request_that_is_cancelled_while_it_asks_leaves_nobody_waiting(replicas: Replicas):
    store: Store = {}
    here, there = replicas
    says = asyncio.Event()
    here.remember(Results(MemoryCache(0), FakeSharedCache(store, says)))
    there.remember(Results(MemoryCache(0), FakeSharedCache(store)))
    doomed = await here.begin(ask("a"))
    doomed.cancel()
    says.set()
    await asyncio.gather(doomed, return_exceptions=True)
    there.backend.gate.set()
    assert len((await there.service.run(ask("a"))).results) == 1


async def test_nobody_waits_for_another_replica_beyond_its_deadline(replicas: Replicas):
    here, there = replicas
    first = await here.begin(ask("a"))
    with pytest.raises(DeadlineExceeded, match="another replica"):
        await there.service.run(replace(ask("a"), deadline=time.monotonic() + 0.05))
    here.backend.gate.set()
    assert len((await first).results) == 1
