"""What replicas remember together, in one process."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from headrace.cache.base import Coming

Store = dict[bytes, "bytes | FakeSharedCache"]


class FakeSharedCache:
    """One replica's way to what all of them remember.

    Args:
        store: What is put, or who computes it; one for all replicas. A claim does not end by itself.
        says: Looking up takes until this is set.
    """

    def __init__(self, store: Store, says: asyncio.Event | None = None) -> None:
        self._store = store
        self._says = says
        self.asked = 0

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | Coming | None]:
        self.asked += 1
        if self._says is not None:
            await self._says.wait()
        return [self._read(self._store.setdefault(key, self)) for key in keys]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        self._store.update(entries)

    def give_up(self, keys: Collection[bytes]) -> None:
        for key in keys:
            if self._store.get(key) is self:
                del self._store[key]

    def _read(self, found: "bytes | FakeSharedCache") -> bytes | Coming | None:
        if isinstance(found, bytes):
            return found
        return None if found is self else Coming.ELSEWHERE
