from tests.contracts.cache import CacheContract

from headrace.cache.memory import MemoryCache


class TestMemoryCache(CacheContract):
    def make_cache(self) -> MemoryCache:
        return MemoryCache(1 << 20)
