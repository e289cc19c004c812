from collections.abc import Sequence
from unittest.mock import Mock

import pytest
from tests.support.shared_cache import FakeSharedCache, Store

from headrace.cache.base import KEY_BYTES, seal
from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.types import Regression, Result


class Codec:
    """Numbers as text; counts what is read."""

    def __init__(self, padding: int = 0) -> None:
        self.read = 0
        self._padding = padding

    def pack(self, result: Regression) -> bytes:
        return str(result.value).encode() + b" " * self._padding

    def unpack(self, data: bytes) -> Result:
        self.read += 1
        return number(float(data))


def number(value: float) -> Regression:
    return Regression(value=value, tokens=1, truncated=False, windows=1)


def key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


async def test_what_comes_again_is_read_once_and_is_the_same_object():
    results, codec = Results(MemoryCache(1 << 20)), Codec()
    await results.remember({key(1): number(1.5), key(2): number(2.5)}, codec)
    first = await results.recall([key(1), key(2), key(3)], codec)
    again = await results.recall([key(2), key(1)], codec)
    assert first == {key(1): number(1.5), key(2): number(2.5)}
    assert again[key(1)] is first[key(1)]
    assert again[key(2)] is first[key(2)]
    assert codec.read == 2


async def test_what_the_cache_has_no_more_is_not_there():
    cache, codec = MemoryCache(1 << 20), Codec()
    results = Results(cache)
    await results.remember({key(1): number(1.5)}, codec)
    await results.recall([key(1)], codec)
    cache._again.entries.clear()
    assert await results.recall([key(1)], codec) == {}


async def test_what_the_cache_has_now_is_read_anew():
    cache, codec = MemoryCache(1 << 20), Codec()
    results = Results(cache)
    await results.remember({key(1): number(1.5)}, codec)
    await results.recall([key(1)], codec)
    await results.remember({key(1): number(7.0)}, codec)
    assert await results.recall([key(1)], codec) == {key(1): number(7.0)}


@pytest.mark.parametrize("reads", [0, 1])
async def test_an_entry_of_another_key_is_none(reads: int):
    """What a connection to Redis hands out that was given up in the middle of another question."""
    codec, answers = Codec(), [seal(key(1), b"1.5")] * reads + [seal(key(2), b"9.9")]

    async def get_many(_keys: Sequence[bytes]) -> list[bytes | None]:
        return [answers.pop(0)]

    results = Results(Mock(get_many=get_many))
    for _ in range(reads):
        assert await results.recall([key(1)], codec) == {key(1): number(1.5)}
    assert await results.recall([key(1)], codec) == {}


async def test_few_are_kept_and_none_that_is_large():
    results, codec = Results(MemoryCache(1 << 30)), Codec()
    numbers = {key(each): number(each) for each in range(1500)}
    await results.remember(numbers, codec)
    await results.recall(list(numbers), codec)
    assert len(results._read) == 1024
    large = Codec(padding=9000)
    await results.remember({key(9999): number(1.0)}, large)
    for _ in range(2):
        await results.recall([key(9999)], large)
    assert large.read == 2


async def test_what_others_remember_is_fetched_once_and_then_remembered_here():
    store: Store = {}
    here, there = (Results(MemoryCache(1 << 20), FakeSharedCache(store)) for _ in range(2))
    codec = Codec()
    await here.remember({key(1): number(1.5)}, codec)
    assert await here.fetch([key(2)], codec) == ({}, set())
    assert await there.recall([key(1)], codec) == {}
    assert await there.fetch([key(1), key(2), key(3)], codec) == ({key(1): number(1.5)}, {key(2)})
    store.clear()
    assert await there.recall([key(1), key(2)], codec) == {key(1): number(1.5)}


async def test_what_one_has_given_up_is_for_others():
    store: Store = {}
    here, there = (Results(MemoryCache(0), FakeSharedCache(store)) for _ in range(2))
    await here.fetch([key(1), key(2)], Codec())
    here.give_up([key(1)])
    assert await there.fetch([key(1), key(2)], Codec()) == ({}, {key(2)})


async def test_alone_there_is_nothing_to_fetch():
    results = Results(MemoryCache(1 << 20))
    results.give_up([key(1)])
    assert not results.is_shared
    assert await results.fetch([key(1)], Codec()) == ({}, set())
