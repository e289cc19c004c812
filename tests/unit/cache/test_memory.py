import asyncio
import gc
import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.cache.memory import MemoryCache, entry_bytes

MAX_BYTES = 5 * entry_bytes(b"k", b"value")


class CacheMachine(RuleBasedStateMachine):
    """The cache against a model that says the same in fewer words, and costs more."""

    keys = st.integers(0, 12).map(lambda number: b"%d" % number)

    def __init__(self) -> None:
        super().__init__()
        self.cache = MemoryCache(MAX_BYTES)
        self.model: OrderedDict[bytes, bytes] = OrderedDict()

    @rule(key=keys, value=st.binary(max_size=MAX_BYTES))
    def put(self, key: bytes, value: bytes) -> None:
        asyncio.run(self.cache.put_many({key: value}))
        self.model.pop(key, None)
        if entry_bytes(key, value) <= MAX_BYTES:
            self.model[key] = value
        while self.model_bytes > MAX_BYTES:
            self.model.popitem(last=False)

    @rule(asked=st.lists(keys, max_size=6))
    def get(self, asked: list[bytes]) -> None:
        assert asyncio.run(self.cache.get_many(asked)) == [self.model.get(key) for key in asked]
        for key in asked:
            if key in self.model:
                self.model.move_to_end(key)

    @property
    def model_bytes(self) -> int:
        return sum(entry_bytes(*entry) for entry in self.model.items())

    @invariant()
    def is_like_the_model(self) -> None:
        assert list(self.cache._entries.items()) == list(self.model.items())
        assert self.cache.size_bytes == self.model_bytes <= MAX_BYTES


CacheMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestCacheMachine = CacheMachine.TestCase


async def test_without_memory_nothing_is_remembered() -> None:
    cache = MemoryCache(0)
    await cache.put_many({b"": b""})
    assert await cache.get_many([b""]) == [None]


async def test_an_entry_larger_than_the_whole_is_not_kept_and_pushes_nothing_out() -> None:
    cache = MemoryCache(MAX_BYTES)
    await cache.put_many({b"a": b"1", b"b": b"2"})
    await cache.put_many({b"c": bytes(MAX_BYTES)})
    assert await cache.get_many([b"a", b"b", b"c"]) == [b"1", b"2", None]


async def test_a_value_that_is_too_large_still_replaces_the_old_one() -> None:
    cache = MemoryCache(MAX_BYTES)
    await cache.put_many({b"a": b"old"})
    await cache.put_many({b"a": bytes(MAX_BYTES)})
    assert await cache.get_many([b"a"]) == [None]
    assert cache.size_bytes == 0


async def test_the_least_recently_used_goes_first() -> None:
    cache = MemoryCache(2 * entry_bytes(b"a", b"1"))
    await cache.put_many({b"a": b"1", b"b": b"2"})
    await cache.get_many([b"a"])
    await cache.put_many({b"c": b"3"})
    assert await cache.get_many([b"a", b"b", b"c"]) == [b"1", None, b"3"]


# 5461 entries are just too many for the table that holds 5460, and 7300 leave it as empty as it gets.
@pytest.mark.parametrize("entries", [5461, 7300])
async def test_the_bound_is_that_of_the_memory_really_taken(entries: int) -> None:
    max_bytes = entries * entry_bytes(bytes(32), bytes(100))
    cache = MemoryCache(max_bytes)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(3 * entries):
            await cache.put_many({number.to_bytes(32, "big"): bytes(100)})
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.7 * max_bytes < peak_bytes <= max_bytes
