"""What every cache must do."""

from headrace.cache.base import Cache, SharedCache


class CacheContract:
    """Inherit, and make the cache; it must have room for a few short entries."""

    def make_cache(self) -> Cache | SharedCache:
        """Return an empty cache."""
        raise NotImplementedError

    async def test_what_was_put_comes_back_in_the_order_asked(self) -> None:
        cache = self.make_cache()
        await cache.put_many({b"a": b"1", b"b": b"2"})
        assert await cache.get_many([b"b", b"missing", b"a"]) == [b"2", None, b"1"]

    async def test_the_last_value_put_counts(self) -> None:
        cache = self.make_cache()
        await cache.put_many({b"a": b"1"})
        await cache.put_many({b"a": b"2"})
        assert await cache.get_many([b"a"]) == [b"2"]

    async def test_a_key_may_be_asked_twice_at_once(self) -> None:
        cache = self.make_cache()
        await cache.put_many({b"a": b"1"})
        assert await cache.get_many([b"a", b"a"]) == [b"1", b"1"]

    async def test_any_bytes_are_a_value_also_none(self) -> None:
        cache = self.make_cache()
        values = {b"empty": b"", b"zero": b"\x00", b"all": bytes(range(256))}
        await cache.put_many(values)
        assert await cache.get_many(list(values)) == list(values.values())

    async def test_nothing_asked_is_nothing_answered(self) -> None:
        cache = self.make_cache()
        await cache.put_many({})
        assert await cache.get_many([]) == []

    async def test_an_empty_cache_misses(self) -> None:
        assert await self.make_cache().get_many([b"a"]) == [None]
