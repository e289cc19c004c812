"""Remembered answers in Redis, which all replicas share."""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from headrace.cache.base import Coming
from headrace.redis import RedisAway, RedisLink

_KEY: Final = b"headrace:cache:v2:"
_VALUE: Final = b"="  # before what was put
_CLAIM: Final = b"?"  # before the name of who computes it
# For so long the others wait for who claimed it; most answers take less, and one that crashed costs them no more.
_CLAIM_S: Final = 1.0
# Writing is not waited for, and what many requests write in this time is one call: that takes 0.2 ms of CPU, and
# 0.03 for each value (redis-py with hiredis).
_GATHER_S: Final = 0.01
_WRITE_S: Final = 0.5  # nobody waits
_MOST_UNWRITTEN: Final = 4096  # more are forgotten, which costs an answer that is computed again
_LOOK_UP: Final = """
local found = {}
for number, key in ipairs(KEYS) do
  found[number] = redis.call('GET', key)
  if not found[number] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
return found
"""
_GIVE_UP: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisCache:
    """Looks up in one call, which claims what is not there, and writes what several requests put in one call as well.

    While Redis is away nothing is found, and what was put meanwhile is forgotten.

    Args:
        link: To Redis.
        ttl_s: How long an answer is kept.
    """

    def __init__(self, link: RedisLink, ttl_s: int) -> None:
        self._link = link
        self._ttl_s = ttl_s
        self._claim = _CLAIM + secrets.token_bytes(8)
        self._script: Any = None
        self._unwritten: dict[bytes, bytes | None] = {}  # nothing: the key is given up
        self._writing: asyncio.Task[None] | None = None

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | Coming | None]:
        """Return what there is for each key; what is not there is this replica's to compute."""
        unwritten = [self._unwritten.get(key) for key in keys]
        asked = [key for key, value in zip(keys, unwritten, strict=True) if value is None]
        if not asked:
            return unwritten
        try:
            answers = iter(await self._link.call(partial(self._look_up, asked)))
        except RedisAway:
            return unwritten
        return [self._read(next(answers)) if value is None else value for value in unwritten]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Remember values: they are found here from now on, and by others soon."""
        self._write_soon(entries)

    def give_up(self, keys: Collection[bytes]) -> None:
        """Let others compute some keys, if they are still this replica's to compute."""
        self._write_soon({key: None for key in keys if key not in self._unwritten})

    async def aclose(self) -> None:
        """Wait until what was put is written, or is forgotten."""
        if self._writing is not None:
            await self._writing

    async def _look_up(self, keys: Sequence[bytes], redis: Any) -> list[bytes | None]:
        if self._script is None:
            self._script = redis.register_script(_LOOK_UP)
        arguments = [self._claim, round(_CLAIM_S * 1000)]
        return await self._script(keys=[_KEY + key for key in keys], args=arguments)  # type: ignore[no-any-return]

    def _read(self, stored: bytes | None) -> bytes | Coming | None:
        if stored is None or stored == self._claim:  # of who gave up and could not say so
            return None
        return stored[1:] if stored.startswith(_VALUE) else Coming.ELSEWHERE

    def _write_soon(self, entries: Mapping[bytes, bytes | None]) -> None:
        room = _MOST_UNWRITTEN - len(self._unwritten)
        self._unwritten.update(itertools.islice(entries.items(), room))
        if self._unwritten and self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._unwritten:
                await asyncio.sleep(_GATHER_S)
                entries = dict(self._unwritten)
                with contextlib.suppress(RedisAway):
                    await self._link.call(partial(self._store, entries), _WRITE_S)
                for key, value in entries.items():
                    if self._unwritten[key] is value:
                        del self._unwritten[key]
        finally:
            self._writing = None

    async def _store(self, entries: Mapping[bytes, bytes | None], redis: Any) -> None:
        pipeline = redis.pipeline(transaction=False)
        for key, value in entries.items():
            if value is None:
                pipeline.eval(_GIVE_UP, 1, _KEY + key, self._claim)
            else:
                pipeline.set(_KEY + key, _VALUE + value, ex=self._ttl_s)
        await pipeline.execute()
