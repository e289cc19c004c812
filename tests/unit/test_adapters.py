import sys

import pytest
from tests.contracts.limits import demand

from headrace import adapters
from headrace.auth.base import Credentials
from headrace.errors import CallerUnknown, DependencyMissing, SettingInvalid
from headrace.limits.memory import MemoryLimiter
from headrace.limits.redis import RedisLimiter
from headrace.observe.base import Observers
from headrace.observe.traces import SampledTracer, Untraced
from headrace.settings import AuthSettings, TraceSettings, load_settings

PROVIDER = AuthSettings(issuer="https://login.example.com", audience="headrace")


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
            await shared.cache.put_many({b"a": b"1"})
            assert await shared.cache.get_many([b"a", b"b"]) == [b"1", None]


async def test_tokens_without_what_reads_them_are_told(monkeypatch: pytest.MonkeyPatch):
    for name in ("headrace.auth.issuer", "headrace.auth.tokens"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(DependencyMissing, match=r"headrace\[oidc\]"):
        async with adapters.open_guard(PROVIDER, adapters.make_key_guard(PROVIDER)):
            raise AssertionError("must not be reached")


def test_with_a_provider_this_machine_is_asked_too():
    with pytest.raises(CallerUnknown):
        adapters.make_key_guard(PROVIDER).identify(Credentials(peer="127.0.0.1"))
    assert adapters.make_key_guard(AuthSettings()).identify(Credentials(peer="127.0.0.1")).name == "local"


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
