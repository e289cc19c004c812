import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import jwt
import pytest
import structlog
from tests.support.issuer import AUDIENCE, IdentityProvider, identity_provider, make_key

from headrace.auth import issuer as issuer_module
from headrace.auth.base import Credentials
from headrace.auth.issuer import Issuer
from headrace.auth.keys import KeyGuard
from headrace.auth.tokens import TokenGuard
from headrace.errors import CallerUnknown, SettingInvalid
from headrace.types import Caller, Scope

KEY = "an-api-key-beside-tokens"
INFER = frozenset({Scope.INFER})


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class World:
    """A guard and the provider that it trusts."""

    def __init__(self, provider: IdentityProvider, tenant_claim: str = "") -> None:
        self.provider = provider
        self.issuer = Issuer(provider.url)
        self.clock = Clock()
        self.guard = TokenGuard(self.issuer, AUDIENCE, tenant_claim, KeyGuard([KEY]), self.clock)

    def who(self, shown: str | None) -> Caller | None:
        try:
            return self.guard.identify(Credentials(peer="127.0.0.1", key=shown))
        except CallerUnknown:
            return None

    async def until(self, token: str, *, is_known: bool) -> None:
        async with asyncio.timeout(20):
            while (self.who(token) is not None) != is_known:
                await asyncio.sleep(0.01)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
async def world(provider: IdentityProvider) -> AsyncIterator[World]:
    world = World(provider)
    await world.issuer.start()
    yield world
    await world.issuer.aclose()


def encode(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_token_says_who_calls_and_what_they_may_do(world: World):
    token = world.provider.sign(scope="infer models:read openid")
    assert world.who(token) == Caller("token-ada", frozenset({Scope.INFER, Scope.MODELS_READ}))
    assert world.who(world.provider.sign(scope=..., scp=["infer"])) == Caller("token-ada", INFER)
    assert world.who(KEY) is not None
    assert world.who(None) is None
    assert not world.guard.is_local


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_each_kind_of_key_is_known_by_its_id(provider: IdentityProvider, algorithm: str):
    provider.add_key("other", algorithm)
    world = World(provider)
    await world.issuer.start()
    assert world.who(provider.sign("other")) is not None
    assert world.who(provider.sign("k1")) is not None
    await world.issuer.aclose()


@pytest.mark.parametrize(
    "scope", ["", "Infer", "infer,models:read", "inferx", "models:read-all", 7, None, {"infer": 1}]
)
async def test_a_scope_counts_if_it_is_spelled_exactly_so(world: World, scope: Any):
    caller = world.who(world.provider.sign(scope=scope))
    assert caller is not None
    assert caller.scopes == frozenset()


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ...},
        {"iss": "https://login.example.com"},
        {"aud": ...},
        {"aud": "other"},
        {"aud": []},
        {"aud": ["other"]},
        {"aud": {"headrace": 1}},
        {"sub": ...},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "two words"},
        {"sub": "line\n"},
        {"sub": 7},
        {"exp": ...},
        {"exp": "9999999999"},
        {"exp": 1e10},
        {"exp": True},
        {"exp": -1},
        {"exp": 10**30},
        {"exp": 0},
        {"iat": ...},
        {"iat": "0"},
        {"nbf": "0"},
        {"nbf": 10**12},
    ],
)
async def test_a_token_that_says_something_else_is_refused(world: World, claims: dict[str, Any]):
    assert world.who(world.provider.sign(**claims)) is None


async def test_the_issuer_is_compared_whole(world: World):
    url = world.provider.url
    for iss in (url + "/", url[:-1], url.upper(), [url], f"{url}.example.com"):
        assert world.who(jwt_of(world, iss=iss)) is None


def jwt_of(world: World, **claims: Any) -> str:
    algorithm, private = world.provider._private["k1"]
    head, body = encode({"alg": algorithm, "kid": "k1", "typ": "JWT"}), encode(world.provider.claims(**claims))
    signed = jwt.get_algorithm_by_name(algorithm).sign(f"{head}.{body}".encode(), private)
    return f"{head}.{body}.{encode(signed)}"


async def test_an_api_key_may_look_much_like_a_token(provider: IdentityProvider):
    key = "first-part.second-part.third-part"
    guard = TokenGuard(Issuer(provider.url), AUDIENCE, "", KeyGuard([key]))
    assert guard.identify(Credentials(peer=None, key=key)).scopes == frozenset(Scope)


async def test_an_audience_among_others_is_ours(world: World):
    assert world.who(world.provider.sign(aud=["https://login.example.com/userinfo", AUDIENCE])) is not None


async def test_a_token_counts_from_its_begin_to_its_end(world: World):
    now = int(time.time())
    token = world.provider.sign(iat=now + 100, nbf=now + 200, exp=now + 300)
    seen = []
    for ahead_s in (0, 150, 175, 290, 301):
        world.clock.ahead_s = ahead_s
        seen.append(world.who(token) is not None)
    assert seen == [False, False, True, True, False]


async def test_a_token_that_lasts_for_more_than_a_day_is_refused(world: World):
    now = int(time.time())
    assert world.who(world.provider.sign(iat=now, exp=now + 86_400)) is not None
    assert world.who(world.provider.sign(iat=now, exp=now + 86_401)) is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"kid": "unknown"},
        {"kid": 7},
        {"typ": "JWE"},
        {"typ": ["JWT"]},
        {"typ": {}},
        {"alg": ["ES256"]},
        {"kid": ["k1"]},
        {"crit": ["b64"], "b64": False},
        {"jku": "http://127.0.0.1:9/keys"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "http://127.0.0.1:9/keys"},
        {"x5c": ["AA"]},
    ],
)
async def test_a_header_that_says_where_its_key_is_is_refused_and_nobody_asked(world: World, header: dict[str, Any]):
    algorithm, private = world.provider._private["k1"]
    asked = list(world.provider.asked)
    head = encode({"alg": algorithm, "kid": "k1", "typ": "JWT", **header})
    body = encode(world.provider.claims())
    signature = jwt.get_algorithm_by_name(algorithm).sign(f"{head}.{body}".encode(), private)
    assert world.who(f"{head}.{body}.{encode(signature)}") is None
    assert world.who(f"{head}.{body}.") is None
    assert world.provider.asked == asked


async def test_a_public_key_is_no_secret_to_sign_with(world: World):
    signed = f"{encode({'alg': 'HS256', 'kid': 'k1'})}.{encode(world.provider.claims())}"
    for secret in (json.dumps(world.provider.published[0]).encode(), world.provider.published[0]["x"].encode(), b""):
        signature = hmac.new(secret, signed.encode(), "sha256").digest()
        assert world.who(f"{signed}.{encode(signature)}") is None


async def test_what_is_spelled_in_another_way_is_no_token(world: World):
    token = world.provider.sign()
    head, body, signature = token.split(".")
    last = signature[-1]
    other = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = other[other.index(last) ^ 1]  # only bits that are not read differ
    for changed in (
        f"{head}.{body}.{signature[:-1]}{twin}",
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature}\n",
        f" {token}",
        f"{head}.{body}",
        f"{token}.{signature}",
        f"{head}.{body}.{encode(bytes(64))}",
        f"{head}.{encode(world.provider.claims(scope='admin'))}.{signature}",
        f"{encode(b'{')}.{body}.{signature}",
        f"{encode([])}.{body}.{signature}",
        f"{encode(b'[' * 5000)}.{body}.{signature}",
        token + "A" * 9000,
    ):
        assert world.who(changed) is None
    assert world.who(token) is not None


async def test_a_claim_that_is_there_twice_is_refused(world: World):
    algorithm, private = world.provider._private["k1"]
    head = encode({"alg": algorithm, "kid": "k1"})
    for body in (
        json.dumps(world.provider.claims())[:-1] + ', "sub": "boss"}',
        json.dumps(world.provider.claims())[:-1] + ', "x": NaN}',
    ):
        signed = f"{head}.{encode(body.encode())}"
        signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), private)
        assert world.who(f"{signed}.{encode(signature)}") is None


async def test_whoever_shows_a_bad_token_is_not_told_what_is_wrong_with_it(world: World):
    messages = set()
    for token in (
        world.provider.sign(exp=1, iat=0),
        world.provider.sign(aud="x"),
        world.provider.sign(header={"typ": "x"}),
    ):
        with pytest.raises(CallerUnknown) as caught:
            world.guard.identify(Credentials(peer=None, key=token))
        messages.add(caught.value.message)
        assert token not in repr(caught.value)
    assert len(messages) == 1


@pytest.mark.parametrize("tenant", [..., "", "A", ["acme"], "a" * 64, 7])
async def test_where_callers_have_tenants_a_token_names_one(provider: IdentityProvider, tenant: Any):
    world = World(provider, tenant_claim="org")
    await world.issuer.start()
    assert world.who(provider.sign(org="acme")) == Caller("token-ada", INFER, "acme")
    assert world.who(provider.sign(org=tenant)) is None
    await world.issuer.aclose()


async def test_a_signature_is_checked_once_and_the_time_each_time(world: World):
    token = world.provider.sign()
    with mock.patch.object(jwt.PyJWS, "decode", side_effect=jwt.PyJWS.decode, autospec=True) as decode:
        for _ in range(5):
            assert world.who(token) is not None
        world.clock.ahead_s = 601
        assert world.who(token) is None
    assert decode.call_count == 1


async def test_few_tokens_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headrace.auth.jwts._KNOWN_TOKENS", 3)
    for number in range(9):
        assert world.who(world.provider.sign(sub=f"s{number}")) is not None
    assert len(world.guard._remembered._known) == 3


async def test_keys_are_rotated_without_a_restart(provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(issuer_module, "_COOL_DOWN_S", 0.05)
    world = World(provider)
    await world.issuer.start()
    old = provider.sign("k1")
    assert world.who(old) is not None
    provider.add_key("k2")
    del provider.published[0]
    assert world.who(provider.sign("k2")) is None  # nobody waits for the provider
    await world.until(provider.sign("k2"), is_known=True)
    assert world.who(old) is None  # also if it was remembered
    await world.issuer.aclose()


async def test_many_unknown_keys_make_nobody_ask_the_provider(world: World):
    asked = len(world.provider.asked)
    for number in range(2000):
        world.issuer.find(f"unknown {number}")
    await asyncio.sleep(0.1)
    assert len(world.provider.asked) == asked
    assert world.who(world.provider.sign()) is not None


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/keys", (500, b"")),
        ("/keys", (200, b"no JSON")),
        ("/keys", (200, b"[]")),
        ("/keys", (200, b'{"keys": 7}')),
        ("/keys", (200, b"x" * 300_000)),
        ("/.well-known/openid-configuration", (404, b"")),
        ("/.well-known/openid-configuration", (200, b"\xff")),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "https://other.example.com"}')),
        ("/.well-known/openid-configuration", (302, b"/keys")),
    ],
)
async def test_while_the_provider_is_away_known_keys_go_on(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch, path: str, reply: tuple[int, bytes]
):
    monkeypatch.setattr(issuer_module, "_COOL_DOWN_S", 0.01)
    world = World(provider)
    await world.issuer.start()
    with structlog.testing.capture_logs() as lines:
        provider.replies[path] = reply
        before = len(provider.asked)
        async with asyncio.timeout(20):
            while len(provider.asked) < before + 4:
                world.issuer.find("unknown")
                await asyncio.sleep(0.01)
        assert world.who(provider.sign()) is not None
    assert [line["event"] for line in lines] == ["issuer.unread"]
    await world.issuer.aclose()


async def test_a_provider_that_is_away_at_the_start_is_asked_again(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(issuer_module, "_RETRY_S", 0.01)
    provider.replies["/keys"] = (503, b"")
    world = World(provider)
    await world.issuer.start()
    assert world.who(provider.sign()) is None
    assert world.who(KEY) is not None
    provider.replies.clear()
    await world.until(provider.sign(), is_known=True)
    await world.issuer.aclose()


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"alg": "ES384"},
        {"crv": "P-384"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": ["EC"]},
        {"x": "not a number"},
        {"kid": 7},
    ],
)
async def test_a_key_that_is_none_of_ours_is_passed_over(provider: IdentityProvider, changed: dict[str, Any]):
    provider.add_key("odd", **changed)
    provider.published.append("no key")  # type: ignore[arg-type]
    world = World(provider)
    await world.issuer.start()
    assert set(world.issuer.signers) == {"k1"}
    await world.issuer.aclose()


@pytest.mark.parametrize("bits", [1024, 8256])
async def test_an_rsa_key_is_neither_weak_nor_slow(provider: IdentityProvider, bits: int):
    public = make_key("RS256", bits).public_key()
    provider.published.append({**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public)), "kid": "odd", "alg": "RS256"})
    world = World(provider)
    await world.issuer.start()
    assert set(world.issuer.signers) == {"k1"}
    await world.issuer.aclose()


@pytest.mark.parametrize(
    "url", ["http://localhost@192.0.2.1", "ftp://x", "login.example.com", "", "http://[", "file:///etc/passwd"]
)
async def test_what_others_on_the_way_could_change_is_no_provider(url: str):
    with pytest.raises(SettingInvalid, match="https://"):
        Issuer(url)


async def test_keys_that_others_on_the_way_could_change_are_not_read(provider: IdentityProvider):
    told = {"issuer": provider.url, "jwks_uri": "http://192.0.2.1/keys"}
    provider.replies["/.well-known/openid-configuration"] = (200, json.dumps(told).encode())
    world = World(provider)
    with structlog.testing.capture_logs() as lines:
        await world.issuer.start()
    assert not world.issuer.signers
    assert lines[0]["reason"] == "its keys are at no https:// address"
    await world.issuer.aclose()
