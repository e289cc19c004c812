import sys
from pathlib import Path

import pytest
from tests.contracts.limits import demand
from tests.support.records import MemoryRecords
from tests.support.services import CALLER

from headrace import adapters
from headrace.auth.base import Credentials
from headrace.auth.signing import make_key_file
from headrace.errors import CallerUnknown, DependencyMissing, GrantUnsupported, SettingInvalid
from headrace.limits.memory import MemoryLimiter
from headrace.limits.redis import RedisLimiter
from headrace.observe.base import Observers
from headrace.observe.traces import SampledTracer, Untraced
from headrace.settings import AuthSettings, Settings, TraceSettings, load_settings
from headrace.tasks import TASKS
from headrace.types import Scope
from headrace.users import WantedUser

WANTED = WantedUser(name="ada", password="correct horse battery", scopes=frozenset({Scope.INFER}))
PROVIDER = AuthSettings(issuer="https://login.example.com", audience="headrace")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load_settings({"store.home": str(tmp_path)}).settings


async def test_redis_without_its_client_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADRACE_REDIS__URL", "redis://127.0.0.1:1")
    for name in ("headrace.cache.redis", "headrace.events.redis", "headrace.limits.redis", "headrace.redis"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(DependencyMissing, match=r"headrace\[redis\]"):
        async with adapters.open_shared(load_settings().settings):
            raise AssertionError("must not be reached")


async def test_with_redis_all_replicas_count_and_remember_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADRACE_REDIS__URL", "redis://127.0.0.1:1")  # nobody is there: each goes on alone
    for rate, kind in (("", MemoryLimiter), ("5", RedisLimiter)):
        monkeypatch.setenv("HEADRACE_LIMITS__REQUESTS_PER_S", rate)
        async with adapters.open_shared(load_settings().settings) as shared:
            assert isinstance(shared.limiter, kind)
            await (await shared.limiter.acquire(demand())).settle(10)
            assert shared.results.is_shared
            assert await shared.results.fetch([b"a"], TASKS["embed"]) == ({}, set())


async def test_tokens_without_what_reads_them_are_told(monkeypatch: pytest.MonkeyPatch):
    for name in ("headrace.auth.issuer", "headrace.auth.jwts", "headrace.auth.tokens"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(DependencyMissing, match=r"headrace\[oidc\]"):
        async with adapters.open_guard(PROVIDER, adapters.make_key_guard(PROVIDER)):
            raise AssertionError("must not be reached")


def test_with_a_provider_this_machine_is_asked_too():
    with pytest.raises(CallerUnknown):
        adapters.make_key_guard(PROVIDER).identify(Credentials(peer="127.0.0.1"))
    assert adapters.make_key_guard(AuthSettings()).identify(Credentials(peer="127.0.0.1")).name == "local"


def test_with_tokens_of_our_own_this_machine_is_asked_too():
    with pytest.raises(CallerUnknown):
        adapters.make_key_guard(AuthSettings(signing_keys=Path("k"))).identify(Credentials(peer="127.0.0.1"))


async def test_keys_to_sign_with_let_tokens_be_issued_and_taken(tmp_path: Path, home: Settings):
    make_key_file(tmp_path / "k", "ES256")
    auth = AuthSettings(signing_keys=tmp_path / "k")
    async with adapters.open_access(home.model_copy(update={"auth": auth}), MemoryRecords()) as access:
        user = await access.users.create(CALLER, WANTED)
        issued = await access.tokens.by_password(user.name, WANTED.password, None)
        assert access.guard.identify(Credentials(peer=None, key=issued.access)).name == "user-ada"
        assert (issued.lasts_s, len(access.tokens.published)) == (600, 1)


async def test_without_keys_to_sign_with_nothing_of_it_is_loaded(home: Settings, monkeypatch: pytest.MonkeyPatch):
    for name in ("argon2", "jwt"):
        monkeypatch.setitem(sys.modules, name, None)
    async with adapters.open_access(home, MemoryRecords()) as access:
        assert access.guard.is_local
        assert access.tokens.published == []
        with pytest.raises(GrantUnsupported, match=r"auth\.signing_keys"):
            await access.users.create(CALLER, WANTED)
        with pytest.raises(GrantUnsupported, match=r"auth\.signing_keys"):
            await access.tokens.by_password("ada", "x", None)


async def test_tokens_of_our_own_without_what_makes_them_are_told(home: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "headrace.auth.passwords", raising=False)
    monkeypatch.setitem(sys.modules, "argon2", None)
    settings = home.model_copy(update={"auth": AuthSettings(signing_keys=Path("k"))})
    with pytest.raises(DependencyMissing, match=r"headrace\[tokens\]"):
        async with adapters.open_access(settings, MemoryRecords()):
            raise AssertionError("must not be reached")


@pytest.mark.parametrize("lasts_s", [299, 901])
def test_an_access_token_is_good_for_five_to_fifteen_minutes(lasts_s: int):
    with pytest.raises(SettingInvalid):
        load_settings({"auth.token_s": lasts_s})


@pytest.mark.parametrize("name", ["issuer", "audience"])
def test_a_provider_needs_an_audience_and_an_audience_a_provider(name: str):
    with pytest.raises(SettingInvalid, match="needed together"):
        load_settings({f"auth.{name}": "https://login.example.com"})


async def test_without_a_collector_no_traces_are_kept():
    async with adapters.open_traces(TraceSettings(), Observers([])) as (tracer, observers):
        assert (type(tracer), observers) == (Untraced, ())


async def test_with_a_collector_spans_are_made(monkeypatch: pytest.MonkeyPatch):
    settings = TraceSettings(endpoint="http://127.0.0.1:1")  # nobody is there, and nothing is sent
    async with adapters.open_traces(settings, Observers([])) as (tracer, observers):
        assert (type(tracer), len(observers)) == (SampledTracer, 1)


async def test_a_collector_without_what_speaks_to_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "headrace.observe.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(DependencyMissing, match=r"headrace\[otel\]"):
        async with adapters.open_traces(TraceSettings(endpoint="http://127.0.0.1:1"), Observers([])):
            raise AssertionError("must not be reached")
