"""Remembered answers in this process, bounded in bytes; what is used again stays longest.

An adaptive replacement cache: N. Megiddo, D. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003,
https://www.usenix.org/conference/fast-03/arc-self-tuning-low-overhead-replacement-cache (US 6,996,676 expired in 2024).
"""

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

ENTRY_OVERHEAD_BYTES: Final = 256
"""What an entry costs beside its key and value: slot, hash table index, list node.

Measured on CPython 3.11 under steady eviction, it is 200 bytes where the table is emptiest (a table is rebuilt
for three times its entries and rounded up to a power of two) and 249 while the old table is copied into a new one.
"""

_NUMBER_BYTES: Final = 32
# Notes take room from entries: with more than an eighth, short answers are found less often than without any.
_MOST_NOTES: Final = 1 / 8


class MemoryCache:
    """A cache whose entries, and notes of what is gone, together never take more than ``max_bytes`` of memory.

    Entries that were used once and those that were used again are two queues, the least recently used first. How much
    of the memory is for the former follows from what comes back after it was pushed out: if it was there for too short
    a time to be used a second time, they get more, and if it had been used, less. So a job that asks for a million
    texts once pushes out none that are asked for all day.

    It belongs to the event loop: no method gives way in the middle, so no lock is needed, and it must not be
    used from another thread.

    Args:
        max_bytes: Memory for keys, values and their bookkeeping; 0 remembers nothing. An entry larger than
            the whole is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._once = _Queue()
        self._again = _Queue()
        self._wanted_once = 0.0  # bytes for entries that were used once

    @property
    def size_bytes(self) -> int:
        """Memory the entries and the notes take now."""
        return self._once.taken_bytes + self._again.taken_bytes

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return a value or nothing for each key, in the order of the keys; a value found was used again."""
        return [self._get(key) for key in keys]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values, and forget as many others as that takes."""
        for key, value in entries.items():
            self._put(key, value)

    def _get(self, key: bytes) -> bytes | None:
        value = self._again.use(key)
        if value is None:
            value = self._once.remove(key)
            if value is not None:
                self._again.add(key, value)
        return value

    def _put(self, key: bytes, value: bytes) -> None:
        # The old value goes first, also when the new one is too large to be kept: it is not the answer any more.
        was_again = self._again.remove(key) is not None
        self._once.remove(key)
        size = entry_bytes(key, value)
        if size > self._max_bytes:
            return
        came_back = self._learn(key, size)
        while self.size_bytes + size > self._max_bytes:
            self._push_out(came_back)
        (self._again if was_again or came_back is not None else self._once).add(key, value)

    def _learn(self, key: bytes, size: int) -> "_Queue | None":
        """Return the queue from which an entry that comes back was pushed out, and let that one have more memory."""
        for queue, other, sign in ((self._once, self._again, 1), (self._again, self._once, -1)):
            if key in queue.gone:
                step = size * max(1.0, other.gone_bytes / queue.gone_bytes)
                self._wanted_once = min(self._max_bytes, max(0.0, self._wanted_once + sign * step))
                queue.forget(key)
                return queue
        return None

    def _push_out(self, came_back: "_Queue | None") -> None:
        """Push an entry out, and note that, if there is room for notes."""
        once, again = self._once, self._again
        over = once.size_bytes - self._wanted_once
        if once.entries and (over > 0 or (over == 0 and came_back is again) or not again.entries):
            once.push_out()
        elif again.entries:
            again.push_out()
        else:
            (once if once.gone else again).forget_oldest()
        # A note that is older than all that the cache could hold tells nothing.
        while once.gone and once.known_bytes > self._max_bytes:
            once.forget_oldest()
        while again.gone and once.known_bytes + again.known_bytes > 2 * self._max_bytes:
            again.forget_oldest()
        while once.notes_bytes + again.notes_bytes > self._max_bytes * _MOST_NOTES:
            (once if once.gone_bytes > again.gone_bytes else again).forget_oldest()


class _Queue:
    """Entries, and notes of those that were pushed out; of both the oldest first.

    Attributes:
        entries: Values by key. Not a dict: to find its oldest entry it walks over all that were removed since it was
            last rebuilt.
        gone: How many bytes each entry took that was pushed out.
        size_bytes: Memory of the entries.
        gone_bytes: What the entries took that were pushed out.
        notes_bytes: Memory of the notes.
    """

    __slots__ = ("entries", "gone", "gone_bytes", "notes_bytes", "size_bytes")

    def __init__(self) -> None:
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.gone: OrderedDict[bytes, int] = OrderedDict()
        self.size_bytes = self.gone_bytes = self.notes_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """Memory of all."""
        return self.size_bytes + self.notes_bytes

    @property
    def known_bytes(self) -> int:
        """Memory of the entries, and of those that were pushed out if they were here."""
        return self.size_bytes + self.gone_bytes

    def use(self, key: bytes) -> bytes | None:
        """Return a value, which is the newest then."""
        value = self.entries.get(key)
        if value is not None:
            self.entries.move_to_end(key)
        return value

    def add(self, key: bytes, value: bytes) -> None:
        self.entries[key] = value
        self.size_bytes += entry_bytes(key, value)

    def remove(self, key: bytes) -> bytes | None:
        value = self.entries.pop(key, None)
        if value is not None:
            self.size_bytes -= entry_bytes(key, value)
        return value

    def push_out(self) -> None:
        """Note of the oldest entry that it is gone."""
        key, value = self.entries.popitem(last=False)
        size = entry_bytes(key, value)
        self.size_bytes -= size
        self.gone[key] = size
        self.gone_bytes += size
        self.notes_bytes += note_bytes(key)

    def forget(self, key: bytes) -> None:
        """Drop a note."""
        self.gone_bytes -= self.gone.pop(key)
        self.notes_bytes -= note_bytes(key)

    def forget_oldest(self) -> None:
        """Drop the oldest note."""
        self.forget(next(iter(self.gone)))


def entry_bytes(key: bytes, value: bytes) -> int:
    """Return the memory that one entry takes, its bookkeeping included."""
    return sys.getsizeof(key) + sys.getsizeof(value) + ENTRY_OVERHEAD_BYTES


def note_bytes(key: bytes) -> int:
    """Return the memory that it takes to know of a key how large its value was."""
    return sys.getsizeof(key) + ENTRY_OVERHEAD_BYTES + _NUMBER_BYTES
