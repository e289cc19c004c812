import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.contracts.accounts import user
from tests.contracts.records import key
from tests.support.issuer import AUDIENCE, IdentityProvider, identity_provider

from headrace.auth.base import Credentials
from headrace.auth.issued import IssuedGuard
from headrace.auth.issuer import Issuer
from headrace.auth.keys import KeyGuard
from headrace.auth.signing import SigningKeys, make_key_file
from headrace.auth.standing import Standing
from headrace.auth.tokens import TokenGuard
from headrace.errors import CallerUnknown
from headrace.types import Caller, Scope

KEY = "an-api-key-beside-tokens"
INFER = frozenset({Scope.INFER})


class World:
    """A guard, and what tokens are signed with."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "signing.pem"
        make_key_file(self.path, "ES256")
        self.keys, self.standing, self.ahead_s = SigningKeys(self.path), Standing(), 0.0
        self.standing.learn([key(1)], [user(1, tenant="acme", models=frozenset({"m"}))], frozenset())
        self.guard = IssuedGuard(self.keys, self.standing, KeyGuard([KEY]), lambda: time.time() + self.ahead_s)

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good token, some of them changed; one that is ``...`` is left out."""
        now = int(time.time())
        good = {"iss": "headrace", "aud": "headrace", "sub": "user-u1", "jti": "t1", "sid": "l1", "scope": "infer"}
        told = {**good, "iat": now, "exp": now + 600, **changed}
        return {name: value for name, value in told.items() if value is not ...}

    def who(self, shown: str | None) -> Caller | None:
        try:
            return self.guard.identify(Credentials(peer="127.0.0.1", key=shown))
        except CallerUnknown:
            return None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as provider:
        yield provider


def encode(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_by_hand(world: World, header: dict[str, Any], **claims: Any) -> str:
    (first,) = world.keys._keys
    head = encode({"alg": "ES256", "kid": first.key_id, "typ": "at+jwt", **header})
    signed = f"{head}.{encode(world.claims(**claims))}"
    return f"{signed}.{encode(jwt.get_algorithm_by_name('ES256').sign(signed.encode(), first.private))}"


def test_a_token_says_who_calls_and_the_records_what_they_may_do(world: World):
    assert world.who(world.keys.sign(world.claims())) == Caller("user-ada1", INFER, "acme", frozenset({"m"}))
    # A scope, a tenant and models that the user has not are none.
    more = world.claims(scope="infer admin", tenant="other", models=None)
    assert world.who(world.keys.sign(more)) == Caller("user-ada1", INFER, "acme", frozenset({"m"}))
    assert world.who(world.keys.sign(world.claims(sub="key-k1", sid=...))) == Caller("key-k1", INFER)
    assert world.who(sign_by_hand(world, {})) is not None
    assert world.who(KEY) is not None
    assert world.who(None) is None
    assert not world.guard.is_local


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "Headrace"},
        {"iss": ["headrace"]},
        {"iss": ...},
        {"aud": ...},
        {"aud": "other"},
        {"aud": ["headrace"]},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "user-u2"},
        {"sub": "ada1"},
        {"sub": "key-u1"},
        {"jti": ...},
        {"jti": 7},
        {"sid": ""},
        {"sid": None},
        {"exp": ...},
        {"exp": "9999999999"},
        {"exp": 1e10},
        {"exp": 0},
        {"exp": 10**12},
        {"iat": ...},
        {"iat": True},
        {"iat": 10**12, "exp": 10**12 + 600},
    ],
)
def test_a_token_that_says_something_else_is_refused(world: World, claims: dict[str, Any]):
    assert world.who(sign_by_hand(world, {}, **claims)) is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"kid": "unknown"},
        {"kid": 7},
        {"kid": None},
        {"typ": "JWT"},
        {"typ": None},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"jku": "http://127.0.0.1:9/keys"},
        {"crit": ["b64"], "b64": False},
    ],
)
def test_a_header_chooses_nothing(world: World, header: dict[str, Any]):
    token = sign_by_hand(world, header)
    assert world.who(token) is None
    assert world.who(token.rpartition(".")[0] + ".") is None


def test_a_token_ends(world: World):
    token = world.keys.sign(world.claims())
    seen = []
    for world.ahead_s in (-40, -20, 0, 599, 601):
        seen.append(world.who(token) is not None)
    assert seen == [False, True, True, True, False]
    now = int(time.time())
    assert world.who(world.keys.sign(world.claims(exp=now + 901))) is None


@pytest.mark.parametrize("revoked", ["t1", "l1"])
def test_a_token_that_was_revoked_is_refused(world: World, revoked: str):
    token = world.keys.sign(world.claims())
    assert world.who(token) is not None
    world.standing.learn([], [user(1)], frozenset({revoked}))
    assert world.who(token) is None
    assert world.who(world.keys.sign(world.claims(jti="t2", sid="l2"))) is not None


def test_a_token_ends_with_whom_it_is_for(world: World):
    of_user, of_key = (world.keys.sign(world.claims(sub=subject)) for subject in ("user-u1", "key-k1"))
    soon = datetime.now(UTC) + timedelta(seconds=60)
    world.standing.learn([key(1, ends_at=soon)], [], frozenset())
    assert (world.who(of_user), world.who(of_key)) == (None, Caller("key-k1", INFER))
    world.ahead_s = 61
    assert world.who(of_key) is None


def test_a_token_of_a_key_that_was_dropped_is_refused(world: World):
    token = world.keys.sign(world.claims())
    assert world.who(token) is not None
    world.path.unlink()
    make_key_file(world.path, "EdDSA")
    world.keys.settle()
    assert world.who(token) is None  # also if it was remembered
    assert world.who(world.keys.sign(world.claims())) is not None


async def test_keys_of_a_provider_and_our_own_are_never_taken_for_each_other(world: World, provider: IdentityProvider):
    (ours,) = world.keys._keys
    provider.add_key(ours.key_id)  # the same id
    issuer = Issuer(provider.url)
    await issuer.start()
    world.guard._otherwise = TokenGuard(issuer, AUDIENCE, "", KeyGuard([KEY]))
    assert world.who(provider.sign()) == Caller("token-ada", INFER)
    assert world.who(provider.sign(ours.key_id)) == Caller("token-ada", INFER)
    # Whoever signs for the provider cannot say that it was us, nor the other way round.
    assert world.who(provider.sign(ours.key_id, {"typ": "at+jwt"}, **world.claims())) is None
    assert world.who(world.keys.sign({**world.claims(), "iss": provider.url, "aud": AUDIENCE})) is None
    assert world.who(world.keys.sign(world.claims())) is not None
    assert world.who(KEY) is not None
    await issuer.aclose()


def test_whoever_shows_a_bad_token_is_not_told_what_is_wrong_with_it(world: World):
    messages = set()
    for claims in ({"exp": 1, "iat": 0}, {"aud": "x"}, {"sub": "user-nobody"}):
        token = world.keys.sign(world.claims(**claims))
        with pytest.raises(CallerUnknown) as caught:
            world.guard.identify(Credentials(peer=None, key=token))
        messages.add(caught.value.message)
        assert token not in repr(caught.value)
    assert len(messages) == 1


@pytest.mark.parametrize("shown", ["eyJ.e30.x", "eyJhbGciOiJub25lIn0.e30.x", "eyJhbGciOiJub25lIn0.bm8.x", "a.b.c"])
def test_what_only_looks_like_a_token_is_asked_of_others(world: World, shown: str):
    assert world.who(shown) is None
    assert world.guard.read(shown) is None
    assert world.guard.read(world.keys.sign(world.claims(aud="x"))) is None
    access = world.guard.read(world.keys.sign(world.claims()))
    assert access is not None
    assert (access.subject, access.ids) == ("user-u1", ("t1", "l1"))
