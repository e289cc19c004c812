"""Results that are remembered: as bytes in the cache, and those that are asked for again and again as they were read.

To read a result takes as long as to find its bytes, and to write it as JSON three times as long; whoever writes it can
keep what came of it only if the same result comes again.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from headrace.cache.base import Cache, seal, unseal
from headrace.types import Result

_MOST_READ: Final = 1024
_MOST_NEW: Final = 256
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

    The cache decides what is there: what was read before is only taken for what the cache has now, to the byte.

    Args:
        cache: Keeps the bytes.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._read: OrderedDict[bytes, tuple[bytes, Result]] = OrderedDict()  # the least recently used first
        self._new: OrderedDict[bytes, tuple[int, Result]] = (
            OrderedDict()
        )  # the last that were remembered, the oldest first
        self._count = 0

    @property
    def mark(self) -> int:
        """How many were remembered so far: what comes later is found by ``since``."""
        return self._count

    def since(self, mark: int, keys: Sequence[bytes]) -> dict[bytes, Result]:
        """Return what was remembered after a mark, so far as it is among the last.

        Who asked a cache far away and was told of nothing looks here before it computes: that may have been done while
        the answer was on its way.
        """
        found = {key: self._new[key] for key in keys if key in self._new}
        return {key: result for key, (number, result) in found.items() if number > mark}

    async def recall(self, keys: Sequence[bytes], codec: Codec) -> dict[bytes, Result]:
        """Return what is remembered of some keys; the same object for what comes again soon."""
        found = {}
        for key, entry in zip(keys, await self._cache.get_many(keys), strict=True):
            result = None if entry is None else self._decode(key, entry, codec)
            if result is not None:
                found[key] = result
        return found

    async def remember(self, results: Mapping[bytes, Result], codec: Codec) -> None:
        """Remember results."""
        for key, result in results.items():
            self._count += 1
            self._new[key] = self._count, result
            self._new.move_to_end(key)
        while len(self._new) > _MOST_NEW:
            self._new.popitem(last=False)
        await self._cache.put_many({key: seal(key, codec.pack(result)) for key, result in results.items()})

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
