"""What every cache that replicas share must do, beside what every cache must."""

from tests.contracts.cache import CacheContract

from headrace.cache.base import Coming, SharedCache


class SharedCacheContract(CacheContract):
    """Inherit, and make the caches; what one of them has done the others must know when ``settle`` returns."""

    def make_replicas(self) -> tuple[SharedCache, SharedCache]:
        """Return two replicas' ways to one empty store."""
        raise NotImplementedError

    async def settle(self, cache: SharedCache) -> None:
        """Wait until all that a replica has done is done."""

    def make_cache(self) -> SharedCache:
        return self.make_replicas()[0]

    async def test_what_one_remembers_the_other_has(self) -> None:
        here, there = self.make_replicas()
        await here.put_many({b"a": b"1", b"b": b""})
        await self.settle(here)
        assert await there.get_many([b"b", b"none", b"a"]) == [b"", None, b"1"]

    async def test_what_one_computes_the_other_waits_for(self) -> None:
        here, there = self.make_replicas()
        assert await here.get_many([b"a", b"b"]) == [None, None]
        assert await there.get_many([b"c", b"b"]) == [None, Coming.ELSEWHERE]
        assert await here.get_many([b"a", b"b", b"c"]) == [None, None, Coming.ELSEWHERE]
        await here.put_many({b"b": b"2"})
        await self.settle(here)
        assert await there.get_many([b"b", b"a"]) == [b"2", Coming.ELSEWHERE]

    async def test_what_one_gives_up_the_other_computes(self) -> None:
        here, there = self.make_replicas()
        await here.get_many([b"a", b"b"])
        here.give_up([b"a"])
        await self.settle(here)
        assert await there.get_many([b"a", b"b"]) == [None, Coming.ELSEWHERE]
        assert await here.get_many([b"a"]) == [Coming.ELSEWHERE]

    async def test_only_what_one_computes_itself_is_given_up(self) -> None:
        here, there = self.make_replicas()
        await here.get_many([b"a", b"b"])
        await here.put_many({b"a": b"1"})
        await self.settle(here)
        for cache in (there, here):
            cache.give_up([b"a", b"unknown"])
            await self.settle(cache)
        there.give_up([b"b"])
        await self.settle(there)
        assert await there.get_many([b"a", b"b"]) == [b"1", Coming.ELSEWHERE]
