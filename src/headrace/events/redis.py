"""Events over all replicas: a stream in Redis that is bounded, and that each replica follows for its readers.

The stream has one order, and ids that are the same everywhere, so a reader can go on at another replica than the one it
was at. While Redis is away each replica tells its own readers what happens in it, and says that the others' is missing.
"""

import asyncio
import json
import math
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog

from headrace.events.base import MISSED, SUBJECT, Event, read_position, spell_time
from headrace.events.ring import Ring, RingSubscription
from headrace.redis import RedisAway, RedisLink

_KEY: Final = "headrace:events:v1:all"
_LIVES_S: Final = 86_400  # of the stream, after the last event: nobody comes back for it later than that
# Less than what the link lets an answer take (0.5 s), by what a slow network may add to it. A replica that nothing
# happens to asks five times a second.
_BLOCK_MS: Final = 200
_ANSWER_S: Final = 0.5
_REST_S: Final = 1.0  # as the link rests
_MOST_SENT: Final = 128  # at a time
_MOST_READ: Final = 512  # as above
_MOST_WAITING: Final = 2048  # events on their way to Redis and back; more are told here alone
_GONE: Final = 2  # calls in a row without an answer; one may be an accident, and nothing is lost by it
_MOST_BYTES: Final = 16_384  # of an event that another replica told
_FIRST_NUMBER: Final = 1 << 40  # the numbers that Redis gives begin with 0

_Entry = tuple[bytes, Mapping[bytes, bytes]]


class RedisEvents:
    """Tells events to those who follow here and at other replicas.

    Args:
        link: To Redis.
        keep: How many events, here and there.
    """

    def __init__(self, link: RedisLink, keep: int) -> None:
        self._link = link
        self._keep = keep
        self._ring = Ring(keep, first=_FIRST_NUMBER + secrets.randbits(40))
        self._origin = secrets.token_hex(8)
        self._count = 0
        self._waiting: dict[str, Event] = {}  # published, and not told here yet
        self._unsent: deque[str] = deque()
        self._told: dict[str, None] = {}  # keys of what was told here last, the oldest first
        self._published = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._is_refused = False

    def start(self) -> None:
        """Send and follow from now on."""
        self._tasks = (asyncio.create_task(self._send()), asyncio.create_task(self._follow()))

    def publish(self, event: Event) -> None:
        """Tell an event: here when it comes back from Redis, or at once if that is away or behind."""
        self._count += 1
        key = f"{self._origin}:{self._count}"
        if len(self._waiting) >= _MOST_WAITING:
            self._tell(key, event)
            return
        self._waiting[key] = event
        self._unsent.append(key)
        self._published.set()

    def subscribe(self, after: str | None) -> RingSubscription:
        """Return what follows the events."""
        return self._ring.subscribe(after)

    def end(self) -> None:
        """Tell whoever follows that there is nothing more."""
        self._ring.end()

    async def aclose(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._published.wait()
            self._published.clear()
            while self._unsent:
                keys = [self._unsent.popleft() for _ in range(min(_MOST_SENT, len(self._unsent)))]
                entries = {key: self._waiting[key] for key in keys if key in self._waiting}
                try:
                    is_kept = await self._link.call(partial(_add, entries, self._keep))
                except RedisAway:
                    is_kept = False
                if not is_kept:  # or perhaps it is, and nobody could say so in time: then it comes back, as known
                    self._tell_here(keys)

    async def _follow(self) -> None:
        last, failures = None, 0
        while True:
            command = partial(_read_last, self._keep) if last is None else partial(_read_next, last)
            try:
                entries = await self._link.call(command, within_s=_ANSWER_S)
            except RedisAway:
                last, failures = None, failures + 1
                if failures == _GONE:
                    self._tell_here(list(self._waiting))
                await asyncio.sleep(_REST_S)
                continue
            if entries is None:
                self._refuse()
                await asyncio.sleep(_REST_S)
                continue
            for entry in entries:
                self._take(entry)
            last = entries[-1][0] if entries else last or b"0-0"
            if failures >= _GONE:
                self._ring.tell(Event(subject=MISSED, fields={"reason": "redis.away"}))
            failures = 0

    def _take(self, entry: _Entry) -> None:
        """Tell an event of the stream, unless it was told."""
        key = entry[1].get(b"key", b"")[:80].decode("latin-1")
        event = _unpack(entry) or self._waiting.get(key)  # its own, which others may not take, is told here in any case
        if event is not None:
            self._tell(key, event)

    def _tell(self, key: str, event: Event) -> None:
        self._waiting.pop(key, None)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > self._keep + _MOST_WAITING:
            del self._told[next(iter(self._told))]
        self._ring.tell(event)

    def _tell_here(self, keys: Sequence[str]) -> None:
        for key in keys:
            if (event := self._waiting.get(key)) is not None:
                self._tell(key, event)

    def _refuse(self) -> None:
        """Go on without a Redis that answers, but keeps no streams."""
        self._tell_here(list(self._waiting))
        if not self._is_refused:
            self._is_refused = True
            structlog.get_logger().warning("events.unshared", hint=f"Redis 5 or newer keeps them, under {_KEY}")


async def _add(entries: Mapping[str, Event], keep: int, redis: Any) -> bool:
    """Put events into the stream, and return whether they are there."""
    pipeline = redis.pipeline(transaction=False)
    for key, event in entries.items():
        pipeline.xadd(_KEY, {"key": key, "event": _pack(event)}, maxlen=keep + 1, approximate=True)
    pipeline.expire(_KEY, _LIVES_S)
    return not any(isinstance(result, Exception) for result in await pipeline.execute(raise_on_error=False))


async def _read_last(keep: int, redis: Any) -> list[_Entry] | None:
    """Return the last events of the stream, the oldest first, one more than are kept; nothing if Redis has none."""
    found: list[_Entry] | None = await _ask(redis.pipeline(transaction=False).xrevrange(_KEY, count=keep + 1))
    return None if found is None else found[::-1]


async def _read_next(last: bytes, redis: Any) -> list[_Entry] | None:
    """Return what comes after an entry, as soon as there is something; nothing if Redis refuses."""
    found = await _ask(redis.pipeline(transaction=False).xread({_KEY: last}, count=_MOST_READ, block=_BLOCK_MS))
    entries: list[_Entry] | None = found and found[0][1]
    return entries


async def _ask(pipeline: Any) -> Any:
    """Return the answer to one command; nothing if it is an error, which is none of the link."""
    (answer,) = await pipeline.execute(raise_on_error=False)
    if isinstance(answer, Exception):
        return None
    return answer or []


def _pack(event: Event) -> str:
    fields = {"subject": event.subject, "fields": dict(event.fields), "tenant": event.tenant, "count": event.count}
    return json.dumps({**fields, "at": spell_time(event.at)}, separators=(",", ":"))


def _unpack(entry: _Entry) -> Event | None:
    """Return the event of an entry; nothing if it is none that this version can read."""
    data = entry[1].get(b"event", b"")
    if len(data) > _MOST_BYTES:
        return None
    try:
        told = json.loads(data, parse_constant=_refuse_constant)
        at = datetime.fromisoformat(told["at"]).astimezone(UTC)
        subject, fields, tenant, count = told["subject"], told["fields"], told["tenant"], told["count"]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    position = entry[0].decode("latin-1")
    is_told = isinstance(subject, str) and SUBJECT.fullmatch(subject) is not None and type(count) is int
    is_whose = tenant is None or isinstance(tenant, str)
    if not (is_told and is_whose and _is_flat(fields)) or read_position(position) is None:
        return None
    return Event(subject=subject, fields=fields, tenant=tenant, count=count, at=at, id=position)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_flat(fields: Any) -> bool:
    return isinstance(fields, dict) and all(
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
        for value in fields.values()
    )
