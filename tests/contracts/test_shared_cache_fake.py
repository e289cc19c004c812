from tests.contracts.shared_cache import SharedCacheContract
from tests.support.shared_cache import FakeSharedCache, Store


class TestFakeSharedCache(SharedCacheContract):
    def make_replicas(self) -> tuple[FakeSharedCache, FakeSharedCache]:
        store: Store = {}
        return FakeSharedCache(store), FakeSharedCache(store)
