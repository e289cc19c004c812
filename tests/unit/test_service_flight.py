"""Texts that several requests want at the same time."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.services import ServiceUnderTest, ask, service_under_test, values
from tests.support.shared_cache import FakeSharedCache

from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.errors import DeadlineExceeded, OutputInvalid
from headrace.options import Options


@pytest.fixture
async def it() -> AsyncIterator[ServiceUnderTest]:
    """A service that remembers nothing, busy with a text of its own until its gate opens."""
    async with service_under_test() as it:
        it.remember(Results(MemoryCache(0)))
        it.backend.gate.clear()
        busy = await it.begin(ask("busy"))
        while not it.backend.batches:
            await asyncio.sleep(0.001)
        yield it
        it.backend.gate.set()
        await busy


def computed(it: ServiceUnderTest) -> int:
    return it.computed - len(["busy"])


async def test_a_text_that_many_want_is_computed_once_also_without_a_cache(it: ServiceUnderTest):
    tasks = [await it.begin(ask("a", "b")), await it.begin(ask("c", "a")), await it.begin(ask("b"))]
    it.backend.gate.set()
    first, second, third = await asyncio.gather(*tasks)
    assert computed(it) == 3
    np.testing.assert_array_equal(values(first.results[0]), values(second.results[1]))
    np.testing.assert_array_equal(values(first.results[1]), values(third.results[0]))
    assert len(it.service._answering._flight) == 0


async def test_a_text_that_another_request_computed_counts_as_not_cached(it: ServiceUnderTest):
    tasks = [await it.begin(ask("a")), await it.begin(ask("a"))]
    it.backend.gate.set()
    assert [answer.cached for answer in await asyncio.gather(*tasks)] == [0, 0]


async def test_without_a_cache_a_text_is_computed_again_later(it: ServiceUnderTest):
    it.backend.gate.set()
    for _ in range(2):
        await it.service.run(ask("a"))
    assert computed(it) == 2


async def test_other_options_are_another_computation(it: ServiceUnderTest):
    tasks = [await it.begin(ask("a", options=Options(normalize=choice))) for choice in (True, False)]
    it.backend.gate.set()
    unit, raw = await asyncio.gather(*tasks)
    assert np.linalg.norm(values(unit.results[0])) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(values(raw.results[0])) != pytest.approx(1, abs=1e-3)


async def test_when_the_first_to_ask_leaves_another_takes_over(it: ServiceUnderTest):
    first, *others = [await it.begin(ask("a")) for _ in range(4)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    it.backend.gate.set()
    await asyncio.gather(*others)
    assert computed(it) == 1


async def test_one_that_waits_may_leave(it: ServiceUnderTest):
    first, second, third = [await it.begin(ask("a")) for _ in range(3)]
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    it.backend.gate.set()
    await asyncio.gather(first, third)
    assert computed(it) == 1


async def test_the_deadline_of_the_first_is_not_that_of_the_others(it: ServiceUnderTest):
    hasty, patient = await it.begin(ask("a", seconds=0.05)), await it.begin(ask("a"))
    with pytest.raises(DeadlineExceeded):
        await hasty
    it.backend.gate.set()
    assert (await patient).tokens == 3


async def test_one_that_waits_does_so_until_its_own_deadline(it: ServiceUnderTest):
    patient, hasty = await it.begin(ask("a")), await it.begin(ask("a", seconds=0.05))
    with pytest.raises(DeadlineExceeded, match="another request computed the same text"):
        await hasty
    it.backend.gate.set()
    assert (await patient).tokens == 3


async def test_the_error_of_a_text_is_that_of_all_who_want_it_each_with_its_place(it: ServiceUnderTest):
    it.backend.nan = frozenset({"nan"})
    tasks = [await it.begin(ask("nan")), await it.begin(ask("a", "nan"))]
    it.backend.gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), getattr(error, "field", "")) for error in errors] == [
        (OutputInvalid, "inputs[0]"),
        (OutputInvalid, "inputs[1]"),
    ]
    assert computed(it) == 2


async def test_two_requests_that_wait_for_each_other_are_both_answered(it: ServiceUnderTest):
    doomed, third = await it.begin(ask("a", "b")), await it.begin(ask("c", "d"))
    tasks = [await it.begin(ask("e", "a", "c")), await it.begin(ask("f", "c", "a", "e"))]
    for one in (doomed, third):  # what they computed goes to the other two, crosswise
        one.cancel()
    it.backend.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [len(answer.results) for answer in answers] == [3, 4]
    assert len(it.service._answering._flight) == 0


async def test_what_all_replicas_remember_is_asked_once_by_all_that_want_it(it: ServiceUnderTest):
    says = asyncio.Event()
    far = FakeSharedCache({}, says)
    it.remember(Results(MemoryCache(0), far))
    tasks = [await it.begin(ask("a", "b")), await it.begin(ask("b", "a")), await it.begin(ask("b", "c"))]
    says.set()
    it.backend.gate.set()
    assert [answer.cached for answer in await asyncio.gather(*tasks)] == [0, 0, 0]
    assert (computed(it), far.asked) == (3, 2)
    again = await it.service.run(ask("c", "d", "a"))
    assert (again.cached, computed(it)) == (2, 4)
