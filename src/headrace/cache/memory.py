"""Remembered answers in this process, bounded in bytes, least recently used out first."""

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

ENTRY_OVERHEAD_BYTES: Final = 256
"""What an entry costs beside its key and value: slot, hash table index, list node.

Measured on CPython 3.11 under steady eviction, it is 200 bytes where the table is emptiest (a table is rebuilt
for three times its entries and rounded up to a power of two) and 249 while the old table is copied into a new one.
"""


class MemoryCache:
    """A least recently used cache whose entries together never take more than ``max_bytes`` of memory.

    It belongs to the event loop: no method gives way in the middle, so no lock is needed, and it must not be
    used from another thread.

    Args:
        max_bytes: Memory for keys, values and their bookkeeping; 0 remembers nothing. An entry larger than
            the whole is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        # Not a dict: finding its oldest entry walks over all that were removed since it was last rebuilt.
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Memory the entries take now."""
        return self._size_bytes

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return a value or nothing for each key, in the order of the keys; a value found is fresh again."""
        return [self._get(key) for key in keys]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values, and forget as many of the least recently used as that takes."""
        for key, value in entries.items():
            self._put(key, value)

    def _get(self, key: bytes) -> bytes | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def _put(self, key: bytes, value: bytes) -> None:
        # The old value goes first, also when the new one is too large to be kept: it is not the answer any more.
        old = self._entries.pop(key, None)
        if old is not None:
            self._size_bytes -= entry_bytes(key, old)
        size = entry_bytes(key, value)
        if size > self._max_bytes:
            return
        while self._size_bytes + size > self._max_bytes:
            self._size_bytes -= entry_bytes(*self._entries.popitem(last=False))
        self._entries[key] = value
        self._size_bytes += size


def entry_bytes(key: bytes, value: bytes) -> int:
    """Return the memory that one entry takes, its bookkeeping included."""
    return sys.getsizeof(key) + sys.getsizeof(value) + ENTRY_OVERHEAD_BYTES
