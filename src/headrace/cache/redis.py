"""Remembered answers in Redis, which all replicas share, with those of this process before it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace.cache.base import Cache
from headrace.redis import RedisAway, RedisLink

_KEY: Final = b"headrace:cache:v1:"
_MOST_WRITES: Final = 256  # that wait; more are forgotten, which costs an answer that is computed again


class RedisCache:
    """Looks in this process first, then in Redis, and remembers in both.

    Best effort: while Redis is away this process remembers alone. Writing is not waited for.

    Args:
        link: To Redis.
        near: What this process remembers.
        ttl_s: How long Redis keeps an answer.
    """

    def __init__(self, link: RedisLink, near: Cache, ttl_s: int) -> None:
        self._link = link
        self._near = near
        self._ttl_s = ttl_s
        self._writing: set[asyncio.Task[None]] = set()

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return a value or nothing for each key, in the order of the keys."""
        found = await self._near.get_many(keys)
        missing = [key for key, value in zip(keys, found, strict=True) if value is None]
        if not missing:
            return found
        far = await self._fetch(missing)
        await self._near.put_many(far)
        return [far.get(key) if value is None else value for key, value in zip(keys, found, strict=True)]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values here now, and in Redis soon."""
        await self._near.put_many(entries)
        if entries and len(self._writing) < _MOST_WRITES:
            task = asyncio.create_task(self._store(dict(entries)))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def aclose(self) -> None:
        """Wait until what was put is written, or is given up."""
        await asyncio.gather(*self._writing)

    async def _fetch(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        async def fetch(redis: Any) -> list[bytes | None]:
            return await redis.mget([_KEY + key for key in keys])  # type: ignore[no-any-return]

        try:
            values = await self._link.call(fetch)
        except RedisAway:
            return {}
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def _store(self, entries: Mapping[bytes, bytes]) -> None:
        async def store(redis: Any) -> None:
            pipeline = redis.pipeline(transaction=False)
            for key, value in entries.items():
                pipeline.set(_KEY + key, value, ex=self._ttl_s)
            await pipeline.execute()

        try:
            await self._link.call(store)
        except RedisAway:
            return
