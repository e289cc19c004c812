"""Picks what counts, remembers, keeps and guards, as the settings say; ``app`` puts it together with the rest.

What needs an extra, or takes long to load, is imported when it is chosen.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.auth.base import Guard
from headrace.auth.keys import KeyGuard, digest_of, read_keys
from headrace.auth.loopback import LoopbackGuard
from headrace.auth.standing import Standing
from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.errors import DependencyMissing
from headrace.events.base import Events
from headrace.events.memory import MemoryEvents
from headrace.keyring import Keyring
from headrace.limits.base import Limiter
from headrace.limits.memory import MemoryLimiter
from headrace.observe.base import Observer
from headrace.observe.traces import SampledTracer, Tracer, Untraced
from headrace.records.accounts import AllRecords
from headrace.records.late import LateRecords
from headrace.settings import AuthSettings, ServerSettings, Settings, TraceSettings
from headrace.tls import Tls
from headrace.tokens import Tokens, Tools
from headrace.users import Users, UsersOff, Verifiers

if TYPE_CHECKING:
    from headrace.api.grpc.server import GrpcServer
    from headrace.auth.passwords import Passwords


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, and how that is changed."""

    guard: Guard
    keyring: Keyring
    users: Users
    tokens: Tokens


@contextlib.asynccontextmanager
async def open_access(settings: Settings, records: AllRecords) -> AsyncIterator[Access]:
    """Give who may call, and follow what others change.

    Raises:
        RecordsUnusable: The records cannot be read.
        SettingInvalid: The keys of the settings cannot, or those that tokens are signed with, or the provider of tokens
            can be none.
        DependencyMissing: What reads or makes tokens is not installed.
    """
    keys, standing, follow_s = make_key_guard(settings.auth), Standing(), settings.records.follow_s
    async with contextlib.AsyncExitStack() as stack:
        keyring = await stack.enter_async_context(open_keyring(settings, records, keys, standing))
        keyring.start_following(follow_s)
        guard = await stack.enter_async_context(open_guard(settings.auth, keys))
        tools: Tools | None = None
        verifiers: Verifiers = UsersOff()
        if settings.auth.signing_keys is not None:
            opening = open_tools(settings.auth.signing_keys, follow_s, standing, guard)
            guard, tools, verifiers = await stack.enter_async_context(opening)
        users = Users(records, verifiers, keyring.settle_soon)
        yield Access(
            guard, keyring, users, Tokens(tools, standing, records, keyring.settle_soon, settings.auth.token_s)
        )


@contextlib.asynccontextmanager
async def open_tools(
    path: Path, follow_s: float, standing: Standing, otherwise: Guard
) -> AsyncIterator[tuple[Guard, Tools, Verifiers]]:
    """Give what makes tokens and takes them.

    Raises:
        SettingInvalid: The file has no keys to sign with.
        DependencyMissing: What it needs is not installed.
    """
    passwords = make_passwords()
    from headrace.auth.issued import IssuedGuard  # noqa: PLC0415 - of an extra
    from headrace.auth.signing import SigningKeys  # noqa: PLC0415 - as above

    signing = SigningKeys(path)
    signing.start_following(follow_s)
    guard = IssuedGuard(signing, standing, otherwise)
    try:
        yield guard, Tools(signing, guard, passwords), passwords
    finally:
        await signing.aclose()


def make_passwords() -> "Passwords":
    """Return what looks at passwords.

    Raises:
        DependencyMissing: What it needs is not installed.
    """
    try:
        import headrace.auth.signing  # noqa: F401, PLC0415 - of the same extra
        from headrace.auth.passwords import Passwords  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "what users and tokens need is not installed; install it: pip install 'headrace[tokens]'"
        ) from error
    return Passwords()


def make_key_guard(settings: AuthSettings) -> KeyGuard:
    """Return the guard that knows keys; without any, and where no tokens are taken, this machine alone may call.

    Raises:
        SettingInvalid: The keys of the settings cannot be read.
    """
    takes_tokens = settings.issuer or settings.signing_keys
    return KeyGuard(read_keys(settings), None if takes_tokens else LoopbackGuard())


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


def open_records(settings: Settings) -> AllRecords:
    """Return what keeps keys and who changed what; nothing is opened before it is needed."""
    url, path = settings.records.url, settings.store.records

    def open_now() -> AllRecords:
        from headrace.records.sql import SqlRecords  # noqa: PLC0415 - a second, and most servers have no records

        return SqlRecords(path if url is None else url.get_secret_value())

    return LateRecords(open_now, lambda: url is not None or path.exists())


@contextlib.asynccontextmanager
async def open_keyring(
    settings: Settings, records: AllRecords, guard: KeyGuard, standing: Standing
) -> AsyncIterator[Keyring]:
    """Give the keys that are kept; the guard knows them and those of the settings, and users are known beside them.

    Raises:
        RecordsUnusable: The records cannot be read.
        SettingInvalid: The keys of the settings cannot.
    """
    keyring = Keyring(records, guard, partial(read_keys, settings.auth), digest_of, standing)
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

    records: AllRecords
    limiter: Limiter
    results: Results
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
    near = MemoryCache(settings.cache.max_bytes)
    if settings.redis.url is None:
        yield Shared(records, limiter, Results(near), MemoryEvents(settings.events.keep))
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
    far = RedisCache(link, settings.cache.ttl_s)
    events = RedisEvents(link, settings.events.keep)
    counted = RedisLimiter(link, rules, limiter) if rules else limiter
    events.start()
    try:
        yield Shared(records, counted, Results(near, far), events)
    finally:
        await events.aclose()
        await counted.aclose()
        await far.aclose()
        await link.aclose()
