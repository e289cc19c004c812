"""Results that are remembered: as bytes in the cache, and those that are asked for again and again as they were read.

To read a result takes as long as to find its bytes, and to write it as JSON three times as long; whoever writes it can
keep what came of it only if the same result comes again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from headrace.cache.base import Cache, Coming, SharedCache, seal, unseal
from headrace.types import Result

_MOST_READ: Final = 1024
_MOST_BYTES: Final = 8192  # of one: 8 MiB of all, and an embedding of 1,024 numbers has half of it


class Codec(Protocol):
    """How the results of a task become bytes, and results again."""

    @property
    def pack(self) -> Callable[[Any], bytes]:
        """Turn a result into bytes."""
        ...

    @property
    def unpack(self) -> Callable[[bytes], Result]:
        """Turn the bytes back, exactly."""
        ...


class Results:
    """Remembers results by key. Belongs to the event loop.

    The caches decide what is there: what was read before is only taken for what they have now, to the byte.

    Args:
        near: Keeps the bytes in this process.
        far: Keeps them for all replicas, if there is more than one.
    """

    def __init__(self, near: Cache, far: SharedCache | None = None) -> None:
        self._near = near
        self._far = far
        self._read: OrderedDict[bytes, tuple[bytes, Result]] = OrderedDict()  # the least recently used first

    @property
    def is_shared(self) -> bool:
        """Whether ``fetch`` may find anything."""
        return self._far is not None

    async def recall(self, keys: Sequence[bytes], codec: Codec) -> dict[bytes, Result]:
        """Return what this process remembers of some keys; the same object for what comes again soon."""
        return self._decode_all(zip(keys, await self._near.get_many(keys), strict=True), codec)

    async def fetch(self, keys: Sequence[bytes], codec: Codec) -> tuple[dict[bytes, Result], set[bytes]]:
        """Return what all replicas remember of some keys, and which others of them another replica computes.

        The rest is for this one to compute: the others wait for what it will ``remember``, if it does not ``give_up``.
        """
        if self._far is None:
            return {}, set()
        try:
            entries = dict(zip(keys, await self._far.get_many(keys), strict=True))
        except asyncio.CancelledError:
            self._far.give_up(keys)  # the question goes on to its end, and may claim them
            raise
        values = {key: entry for key, entry in entries.items() if isinstance(entry, bytes)}
        await self._near.put_many(values)
        return self._decode_all(values.items(), codec), {
            key for key, entry in entries.items() if entry is Coming.ELSEWHERE
        }

    async def remember(self, results: Mapping[bytes, Result], codec: Codec) -> None:
        """Remember results."""
        entries = {key: seal(key, codec.pack(result)) for key, result in results.items()}
        await self._near.put_many(entries)
        if self._far is not None:
            await self._far.put_many(entries)

    def give_up(self, keys: Collection[bytes]) -> None:
        """Leave some keys that were fetched to the other replicas."""
        if self._far is not None:
            self._far.give_up(keys)

    def _decode_all(self, entries: Iterable[tuple[bytes, bytes | None]], codec: Codec) -> dict[bytes, Result]:
        found = {}
        for key, entry in entries:
            result = None if entry is None else self._decode(key, entry, codec)
            if result is not None:
                found[key] = result
        return found

    def _decode(self, key: bytes, entry: bytes, codec: Codec) -> Result | None:
        kept = self._read.get(key)
        if kept is not None and kept[0] == entry:  # the same object, where the cache is in this process
            self._read.move_to_end(key)
            return kept[1]
        value = unseal(key, entry)
        if value is None:
            return None
        result = codec.unpack(value)
        if len(entry) <= _MOST_BYTES:
            self._read[key] = entry, result
            if len(self._read) > _MOST_READ:
                self._read.popitem(last=False)
        return result
