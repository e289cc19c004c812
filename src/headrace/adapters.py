"""Picks what counts, remembers, keeps and guards, as the settings say; ``app`` puts it together with the rest.

What needs an extra, or takes long to load, is imported when it is chosen.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from headrace.auth.base import Guard
from headrace.auth.keys import KeyGuard, digest_of, read_keys
from headrace.auth.loopback import LoopbackGuard
from headrace.cache.base import Cache
from headrace.cache.memory import MemoryCache
from headrace.errors import DependencyMissing
from headrace.events.base import Events
from headrace.events.memory import MemoryEvents
from headrace.keyring import Keyring
from headrace.limits.base import Limiter
from headrace.limits.memory import MemoryLimiter
from headrace.observe.base import Observer
from headrace.observe.traces import SampledTracer, Tracer, Untraced
from headrace.records.base import Records
from headrace.records.late import LateRecords
from headrace.settings import AuthSettings, ServerSettings, Settings, TraceSettings
from headrace.tls import Tls

if TYPE_CHECKING:
    from headrace.api.grpc.server import GrpcServer


def make_key_guard(settings: AuthSettings) -> KeyGuard:
    """Return the guard that knows keys; without any, and without a provider of tokens, this machine alone may call.

    Raises:
        SettingInvalid: The keys of the settings cannot be read.
    """
    return KeyGuard(read_keys(settings), None if settings.issuer else LoopbackGuard())


@contextlib.asynccontextmanager
async def open_guard(settings: AuthSettings, keys: KeyGuard) -> AsyncIterator[Guard]:
    """Give the guard that every route asks.

    Raises:
        SettingInvalid: The provider of tokens cannot be one.
        DependencyMissing: What reads tokens is not installed.
    """
    if settings.issuer is None or settings.audience is None:
        yield keys
        return
    try:
        from headrace.auth.issuer import Issuer  # noqa: PLC0415 - of an extra
        from headrace.auth.tokens import TokenGuard  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "auth.issuer is set and what reads tokens is not installed; install it: pip install 'headrace[oidc]'"
        ) from error
    issuer = Issuer(settings.issuer)
    await issuer.start()
    try:
        yield TokenGuard(issuer, settings.audience, settings.tenant_claim, keys)
    finally:
        await issuer.aclose()


def open_records(settings: Settings) -> Records:
    """Return what keeps keys and who changed what; nothing is opened before it is needed."""
    url, path = settings.records.url, settings.store.records

    def open_now() -> Records:
        from headrace.records.sql import SqlRecords  # noqa: PLC0415 - a second, and most servers have no records

        return SqlRecords(path if url is None else url.get_secret_value())

    return LateRecords(open_now, lambda: url is not None or path.exists())


@contextlib.asynccontextmanager
async def open_keyring(settings: Settings, records: Records, guard: KeyGuard) -> AsyncIterator[Keyring]:
    """Give the keys that are kept; the guard knows them, and those of the settings.

    Raises:
        RecordsUnusable: The records cannot be read.
        SettingInvalid: The keys of the settings cannot.
    """
    keyring = Keyring(records, guard, partial(read_keys, settings.auth), digest_of)
    try:
        await keyring.settle()
        yield keyring
    finally:
        await keyring.aclose()


@contextlib.asynccontextmanager
async def open_traces(
    settings: TraceSettings, observer: Observer
) -> AsyncIterator[tuple[Tracer, tuple[Observer, ...]]]:
    """Give what says which trace a request is part of, and who makes spans of facts, if anybody is to be told.

    Args:
        settings: Who is.
        observer: Hears of spans that were lost.

    Raises:
        DependencyMissing: What speaks OpenTelemetry's protocol is not installed.
    """
    if settings.endpoint is None:
        yield Untraced(), ()
        return
    try:
        from headrace.observe.otel import SpanObserver, make_exporter  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "traces.endpoint is set and OpenTelemetry is not installed; install it: pip install 'headrace[otel]'"
        ) from error
    spans = SpanObserver(make_exporter(settings), settings.service, observer)
    try:
        yield SampledTracer(settings.sample), (spans,)
    finally:
        await spans.aclose()


def bind_grpc(settings: ServerSettings, tls: Tls | None) -> "GrpcServer | None":
    """Bind the port for gRPC, if there is to be one.

    Raises:
        PortTaken: Another process listens there.
        DependencyMissing: What speaks gRPC is not installed.
    """
    if settings.grpc_port is None:
        return None
    try:
        from headrace.api.grpc.server import GrpcServer  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "server.grpc_port is set and what speaks gRPC is not installed; install it: pip install 'headrace[grpc]'"
        ) from error
    return GrpcServer(settings, tls)


@dataclass(frozen=True, slots=True)
class Shared:
    """What is the same for all replicas, as far as there is something that they share."""

    records: Records
    limiter: Limiter
    cache: Cache
    events: Events


@contextlib.asynccontextmanager
async def open_shared(settings: Settings) -> AsyncIterator[Shared]:
    """Give what keeps, counts, remembers and tells: in this process, and in Redis for all replicas if there is one.

    Raises:
        DependencyMissing: There is to be Redis, and its client is not installed.
        SettingInvalid: The address of Redis is none.
    """
    rules, records = settings.limits.all_rules, open_records(settings)
    limiter = MemoryLimiter(rules, settings.limits.max_callers)
    cache = MemoryCache(settings.cache.max_bytes)
    if settings.redis.url is None:
        yield Shared(records, limiter, cache, MemoryEvents(settings.events.keep))
        return
    try:
        from headrace.cache.redis import RedisCache  # noqa: PLC0415 - of an extra
        from headrace.events.redis import RedisEvents  # noqa: PLC0415 - as above
        from headrace.limits.redis import RedisLimiter  # noqa: PLC0415 - as above
        from headrace.redis import RedisLink  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "redis.url is set and the client of Redis is not installed; install it: pip install 'headrace[redis]'"
        ) from error
    link = RedisLink(settings.redis.url.get_secret_value())
    shared = RedisCache(link, cache, settings.cache.ttl_s)
    events = RedisEvents(link, settings.events.keep)
    counted = RedisLimiter(link, rules, limiter) if rules else limiter
    events.start()
    try:
        yield Shared(records, counted, shared, events)
    finally:
        await events.aclose()
        await counted.aclose()
        await shared.aclose()
        await link.aclose()
