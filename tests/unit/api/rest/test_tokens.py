import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import structlog
from tests.support.issuing import BOSS, PASSWORD, Issuing, basic, issuing
from tests.support.services import CALLER, service_under_test

from headrace.api.rest.app import build_app
from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard
from headrace.records.journal import change_by
from headrace.types import Scope

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Issuing]:
    async with issuing(tmp_path) as server:
        yield server


def told(reply: httpx.Response) -> tuple[int, str]:
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json()) == {"error", "error_description", "code", "request_id"}
    return reply.status_code, reply.json()["error"]


async def test_a_key_gets_a_token_that_does_what_the_key_does(server: Issuing):
    made = await server.make_key(Scope.INFER, Scope.MODELS_READ, tenant="acme", models=frozenset({"fake"}))
    reply = await server.token(grant_type="client_credentials", client_id=made.key.id, client_secret=made.text)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    token = reply.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 600, "infer models:read")
    assert "refresh_token" not in token  # RFC 6749, 4.4.3
    claims = jwt.decode(token["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 600
    assert len(claims.pop("jti")) == 32
    assert {name: value for name, value in claims.items() if name not in {"iat", "exp"}} == {
        "iss": "headrace",
        "aud": "headrace",
        "sub": f"key-{made.key.id}",
        "scope": "infer models:read",
        "tenant": "acme",
        "models": ["fake"],
    }
    assert await server.embed(token["access_token"]) == 200
    assert server.told_caller == f"key-{made.key.id}"


async def test_a_client_is_shown_in_a_header_as_well(server: Issuing):
    made = await server.make_key()
    reply = await server.token_with(basic(made.key.id, made.text), grant_type="client_credentials")
    assert reply.status_code == 200
    both = await server.token_with(
        basic(made.key.id, made.text), grant_type="client_credentials", client_secret=made.text
    )
    assert told(both) == (400, "invalid_request")


async def test_who_is_no_client_is_told_how_one_shows_itself(server: Issuing):
    made, other = await server.make_key(), await server.make_key()
    await server.keyring.revoke(CALLER, other.key.id)
    attempts = [
        {},
        {"client_id": made.key.id},
        {"client_id": made.key.id, "client_secret": made.text[:-1]},
        {"client_id": other.key.id, "client_secret": made.text},
        {"client_id": other.key.id, "client_secret": other.text},  # it was revoked
        {"client_id": "nobody", "client_secret": made.text},
        {"client_secret": made.text},
        {"client_id": "\x00\ud7ff", "client_secret": BOSS},
    ]
    for form in attempts:
        reply = await server.token(grant_type="client_credentials", **form)
        assert told(reply) == (401, "invalid_client")
        assert reply.headers["www-authenticate"].startswith("Basic ")
    for value in ("Basic", "Basic !", "Basic bm9jb2xvbg==", "Basic /w==", "Basic JWZmOiVmZg=="):
        reply = await server.token_with({"authorization": value}, grant_type="client_credentials")
        assert told(reply) == (401, "invalid_client")


async def test_a_key_of_the_settings_is_no_client(server: Issuing):
    caller = KeyGuard([BOSS]).identify(Credentials(peer=None, key=BOSS))
    key_id = caller.name.removeprefix("key-")
    reply = await server.token(grant_type="client_credentials", client_id=key_id, client_secret=BOSS)
    assert told(reply) == (401, "invalid_client")


async def test_a_user_logs_in_and_goes_on_with_refresh_tokens(server: Issuing):
    await server.make_user(tenant="acme")
    first = (await server.login()).json()
    assert await server.embed(first["access_token"]) == 200
    assert server.told_caller == "user-ada"
    second = (await server.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert [await server.embed(each["access_token"]) for each in (first, second)] == [200, 200]
    assert await server.embed(first["refresh_token"]) == 401  # it is no bearer token


async def test_a_scope_may_be_less_and_never_more(server: Issuing):
    await server.make_user("ada", Scope.INFER, Scope.MODELS_READ)
    narrow = (await server.login(scope="infer")).json()
    assert narrow["scope"] == "infer"
    read = {"authorization": f"Bearer {narrow['access_token']}"}
    assert (await server.client.get("/api/v1/models", headers=read)).status_code == 403
    for scope in ("admin", "infer admin", "infer  models:read", "Infer", "infer,models:read", "openid", '\\"\x00'):
        assert told(await server.login(scope=scope)) == (400, "invalid_scope")
    # What the login was for stays the most that its refresh tokens give.
    assert told(await server.refresh(narrow["refresh_token"], scope="infer models:read")) == (400, "invalid_scope")
    assert (await server.refresh(narrow["refresh_token"], scope="infer")).status_code == 200
    made = await server.make_key()
    form = {"grant_type": "client_credentials", "client_id": made.key.id, "client_secret": made.text}
    assert told(await server.token(**form, scope="keys")) == (400, "invalid_scope")


async def test_a_narrowed_refresh_leaves_the_login_as_it_was(server: Issuing):
    await server.make_user("ada", Scope.INFER, Scope.MODELS_READ)
    first = (await server.login()).json()
    second = (await server.refresh(first["refresh_token"], scope="infer")).json()
    third = (await server.refresh(second["refresh_token"])).json()
    assert (second["scope"], third["scope"]) == ("infer", "infer models:read")


async def test_a_refresh_token_that_is_used_twice_ends_the_login_for_all(server: Issuing):
    await server.make_user()
    first, other = (await server.login()).json(), (await server.login()).json()
    second = (await server.refresh(first["refresh_token"])).json()
    assert told(await server.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert told(await server.refresh(second["refresh_token"])) == (400, "invalid_grant")
    assert [await server.embed(each["access_token"]) for each in (first, second, other)] == [401, 401, 200]
    assert (await server.refresh(other["refresh_token"])).status_code == 200
    assert (await server.actions())[0] == "login.reused"


async def test_of_two_who_refresh_at_once_one_at_most_goes_on(server: Issuing):
    await server.make_user()
    token = (await server.login()).json()["refresh_token"]
    replies = await asyncio.gather(*(server.refresh(token) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies).count(200) == 1
    assert "login.reused" in await server.actions()


@pytest.mark.parametrize(
    "token", ["x", "hrt_" + "0" * 32 + "_" + "a" * 43, "hrt_", "\x00", "hrt_" + "0" * 32 + "_" + "\u0661" * 43]
)
async def test_what_is_no_refresh_token_gets_none(server: Issuing, token: str):
    assert told(await server.refresh(token)) == (400, "invalid_grant")


async def test_a_login_ends_by_itself(server: Issuing):
    await server.make_user()
    token = (await server.login()).json()["refresh_token"]
    for login_id, login in server.it.records._logins.items():
        assert timedelta(days=29) < login.ends_at - datetime.now(UTC) < timedelta(days=31)
        server.it.records._logins[login_id] = dataclasses.replace(login, ends_at=datetime.now(UTC))
    assert told(await server.refresh(token)) == (400, "invalid_grant")


async def test_an_access_token_is_revoked_alone(server: Issuing):
    await server.make_user()
    tokens = (await server.login()).json()
    for _ in range(2):
        reply = await server.revoke(token=tokens["access_token"], token_type_hint="refresh_token")
        assert (reply.status_code, reply.content) == (200, b"")
    assert await server.embed(tokens["access_token"]) == 401
    assert (await server.refresh(tokens["refresh_token"])).status_code == 200
    assert (await server.actions()).count("token.revoked") == 1


async def test_a_refresh_token_is_revoked_with_its_login(server: Issuing):
    await server.make_user()
    tokens = (await server.login()).json()
    assert (await server.revoke(token=tokens["refresh_token"])).status_code == 200
    assert await server.embed(tokens["access_token"]) == 401
    assert told(await server.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


async def test_what_is_none_is_revoked_without_a_word(server: Issuing):
    made = await server.make_key()
    before = await server.actions()
    for token in ("x", made.text, BOSS, "eyJhbGciOiJub25lIn0.e30.", "hrt_" + "0" * 32 + "_" + "a" * 43):
        assert (await server.revoke(token=token)).status_code == 200
    assert await server.embed(made.text) == 200
    assert await server.actions() == before
    assert told(await server.revoke()) == (400, "invalid_request")
    assert told(await server.revoke(token="x", client_id="a", client_secret="b")) == (401, "invalid_client")


async def test_tokens_end_with_the_key_or_the_user_they_are_for(server: Issuing):
    made, _ = await server.make_key(), await server.make_user()
    form = {"grant_type": "client_credentials", "client_id": made.key.id, "client_secret": made.text}
    of_key, of_user = (await server.token(**form)).json(), (await server.login()).json()
    await server.keyring.revoke(CALLER, made.key.id)
    await server.users.remove(CALLER, "ada")
    assert [await server.embed(each["access_token"]) for each in (of_key, of_user)] == [401, 401]
    assert told(await server.refresh(of_user["refresh_token"])) == (400, "invalid_grant")
    await server.make_user()  # another one of the same name
    assert await server.embed(of_user["access_token"]) == 401


async def test_a_key_that_ends_soon_gets_a_token_that_ends_with_it(server: Issuing):
    made = await server.make_key(lasts_s=100)
    reply = await server.token(grant_type="client_credentials", client_id=made.key.id, client_secret=made.text)
    assert 95 <= reply.json()["expires_in"] <= 100


async def test_another_password_ends_what_was_got_for_the_one_before(server: Issuing):
    await server.make_user()
    tokens = (await server.login()).json()
    await server.users.set_password(CALLER, "ada", "another password")
    assert await server.embed(tokens["access_token"]) == 401
    assert told(await server.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert told(await server.login()) == (400, "invalid_grant")
    assert (await server.login(password="another password")).status_code == 200


async def test_an_unknown_user_and_a_wrong_password_have_one_answer(server: Issuing):
    await server.make_user()
    replies = [await server.login("bob"), await server.login(password="wrong"), await server.login("ada\x00")]
    assert {told(reply) for reply in replies} == {(400, "invalid_grant")}
    assert len({reply.json()["error_description"] for reply in replies}) == 1


async def test_guesses_are_few_for_a_name_whether_there_is_one_or_not(server: Issuing):
    await server.make_user()
    for name in ("ada", "nobody"):
        for _ in range(5):
            assert told(await server.login(name, "wrong")) == (400, "invalid_grant")
        reply = await server.login(name, "wrong")
        assert told(reply) == (429, "temporarily_unavailable")
        assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert (await server.login()).status_code == 429  # also the right one, else a guess would be told by the answer


async def test_a_right_password_is_no_guess(server: Issuing):
    await server.make_user()
    for _ in range(8):
        assert (await server.login()).status_code == 200


async def test_many_passwords_at_once_are_refused_and_not_counted(server: Issuing):
    await server.make_user()
    replies = await asyncio.gather(*(server.login() for _ in range(5)))
    assert {reply.status_code for reply in replies} == {200}
    gate = server.tokens._tools.passwords._gate  # type: ignore[union-attr]
    gate._most = 0
    reply = await server.login()
    assert told(reply) == (429, "temporarily_unavailable")
    assert reply.headers["retry-after"] == "1"
    gate._most = 9
    for _ in range(5):
        assert (await server.login()).status_code == 200


async def test_a_client_beside_a_password_must_be_one(server: Issuing):
    await server.make_user()
    made = await server.make_key()
    assert (await server.login(client_id="web")).status_code == 200  # a public client says who it is, and no more
    assert (await server.login(client_id=made.key.id, client_secret=made.text)).status_code == 200
    assert told(await server.login(client_id=made.key.id, client_secret="x")) == (401, "invalid_client")
    swagger = {"grant_type": "password", "username": "ada", "password": PASSWORD, "scope": "", "client_id": ""}
    assert (await server.token_with(basic("", ""), **swagger)).status_code == 200
    assert (await server.token_with({"authorization": f"Bearer {made.text}"}, **swagger)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "invalid_request"),
        (b"grant_type=", 400, "invalid_request"),
        (b"grant_type=password&grant_type=password", 400, "invalid_request"),
        (b"grant_type=password&username=ada&password=a&password=b", 400, "invalid_request"),
        (b"grant_type=password&x=1&x=2", 400, "invalid_request"),
        (b"grant_type=password&username=ada", 400, "invalid_request"),
        (b"grant_type=password&password=a", 400, "invalid_request"),
        (b"grant_type=refresh_token", 400, "invalid_request"),
        (b"grant_type=implicit", 400, "unsupported_grant_type"),
        (b"grant_type=Password", 400, "unsupported_grant_type"),
        (b"grant_type=password&username=%ff&password=a", 400, "invalid_request"),
        (b"grant_type=password&username=\xc3\xa4&password=a", 400, "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(33)), 400, "invalid_request"),
        (b"grant_type=password&password=" + b"a" * (16 << 10), 413, "invalid_request"),
        (b'{"grant_type": "password"}', 400, "invalid_request"),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(server: Issuing, body: bytes, status: int, error: str):
    assert told(await server.client.post("/api/v1/token", content=body, headers=FORM)) == (status, error)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=latin-1",
        "application/x-www-form-urlencoded, text/plain",
    ],
)
async def test_another_content_type_is_refused(server: Issuing, kind: str | None):
    headers = {} if kind is None else {"content-type": kind}
    reply = await server.client.post("/api/v1/token", content=b"grant_type=password", headers=headers)
    assert told(reply) == (400, "invalid_request")


async def test_a_form_says_it_is_utf_8_if_it_wants(server: Issuing):
    await server.make_user()
    form = f"grant_type=password&username=ada&password={PASSWORD.replace(' ', '+')}"
    for kind in (
        "application/x-www-form-urlencoded; charset=UTF-8",
        'Application/X-WWW-Form-Urlencoded;charset="utf-8"',
    ):
        reply = await server.client.post("/api/v1/token", content=form, headers={"content-type": kind})
        assert reply.status_code == 200


async def test_parameters_in_the_address_are_refused(server: Issuing):
    reply = await server.client.post("/api/v1/token?grant_type=password&password=canary", data={"a": "b"})
    assert told(reply) == (400, "invalid_request")
    assert "canary" not in reply.text
    assert (await server.client.get("/api/v1/token?grant_type=password")).status_code == 405


async def test_records_that_are_gone_stop_logins_and_no_token(server: Issuing):
    await server.make_user()
    made = await server.make_key()
    tokens = (await server.login()).json()
    server.it.records.is_gone = True
    for reply in (
        await server.login(),
        await server.refresh(tokens["refresh_token"]),
        await server.revoke(token=tokens["access_token"]),
    ):
        assert told(reply) == (503, "temporarily_unavailable")
        assert reply.headers["retry-after"] == "1"
    assert await server.embed(tokens["access_token"]) == 200
    form = {"grant_type": "client_credentials", "client_id": made.key.id, "client_secret": made.text}
    assert (await server.token(**form)).status_code == 200
    server.it.records.is_gone = False
    assert (await server.refresh(tokens["refresh_token"])).status_code == 200  # it was not used up


async def test_secrets_are_in_no_log_and_no_answer_that_refuses(server: Issuing, capfd: pytest.CaptureFixture[str]):
    canary = "canary-of-a-secret"
    await server.make_user()
    made = await server.make_key()
    with structlog.testing.capture_logs() as lines:
        replies = [
            await server.login(password=canary),
            await server.login(name=canary),
            await server.login(scope="admin", client_id=canary, client_secret=canary),
            await server.refresh(canary),
            await server.refresh(f"hrt_{'0' * 32}_{canary:a<43}"),
            await server.token(grant_type=canary),
            await server.revoke(token=canary, client_id=made.key.id, client_secret=canary),
            await server.token_with(basic(canary, canary), grant_type="client_credentials"),
            await server.client.post("/api/v1/token", content=f"password={canary}&password={canary}%ff", headers=FORM),
            await server.client.post("/api/v1/token", content=canary, headers={"content-type": canary}),
        ]
        tokens = (await server.login()).json()
    assert all(reply.status_code >= 400 for reply in replies)
    shown = "".join(
        [*(reply.text for reply in replies), repr(lines), repr(server.it.recorder.facts), *capfd.readouterr()]
    )
    assert canary not in shown
    for secret in (tokens["access_token"], tokens["refresh_token"], PASSWORD, made.text):
        assert secret not in shown
    kept = repr([server.it.records.list_users(), vars(server.it.records)])
    assert PASSWORD not in kept
    assert tokens["refresh_token"] not in kept
    assert "$argon2id$" not in repr(server.it.records.list_users())


async def test_public_keys_are_open_to_all_and_kept_for_a_while(server: Issuing):
    reply = await server.client.get("/.well-known/jwks.json")
    (key,) = reply.json()["keys"]
    assert reply.headers["cache-control"] == "public, max-age=300"
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}  # and nothing private
    made = await server.make_key()
    token = (
        await server.token(grant_type="client_credentials", client_id=made.key.id, client_secret=made.text)
    ).json()["access_token"]
    found = jwt.PyJWKSet.from_dict(reply.json())[jwt.get_unverified_header(token)["kid"]]
    assert (
        jwt.decode(token, found.key, algorithms=["ES256"], audience="headrace", issuer="headrace")["scope"] == "infer"
    )


async def test_without_signing_keys_nothing_is_issued_and_the_server_says_why():
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context([BOSS])), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for form in (
                {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"},
                {"grant_type": "password", "username": "a", "password": "b"},
                {"grant_type": "refresh_token", "refresh_token": "a"},
            ):
                reply = await client.post("/api/v1/token", data=form)
                assert told(reply) == (400, "unsupported_grant_type")
                assert "auth.signing_keys" in reply.json()["error_description"]
            assert (await client.post("/api/v1/token/revoke", data={"token": "a"})).status_code == 400
            assert (await client.get("/.well-known/jwks.json")).json() == {"keys": []}
            user: dict[str, Any] = {"name": "ada", "password": PASSWORD, "scopes": ["infer"]}
            headers = {"authorization": f"Bearer {BOSS}"}
            refused = await client.post("/api/v1/users", json=user, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (400, "grant.unsupported")


async def test_the_document_lets_people_log_in(server: Issuing):
    headers = {"authorization": f"Bearer {BOSS}"}
    document = (await server.client.get("/openapi.json", headers=headers)).json()
    flow = document["components"]["securitySchemes"]["password"]["flows"]["password"]
    assert flow["tokenUrl"] == flow["refreshUrl"] == "api/v1/token"
    assert set(flow["scopes"]) == {scope.value for scope in Scope}
    assert {"password": []} in document["security"]
    assert document["paths"]["/api/v1/token"]["post"]["security"] == []


async def test_a_client_beside_a_refresh_token_must_be_one(server: Issuing):
    await server.make_user()
    made, token = await server.make_key(), (await server.login()).json()["refresh_token"]
    assert told(await server.refresh(token, client_id=made.key.id, client_secret="x")) == (401, "invalid_client")
    assert (await server.refresh(token, client_id=made.key.id, client_secret=made.text)).status_code == 200


async def test_who_got_another_password_elsewhere_is_not_logged_in_with_the_one_before(server: Issuing):
    user = await server.make_user()
    change = change_by(CALLER, "user.password", user.name)
    server.it.records.write_users(change, verifiers={user.id: "other"})  # which this replica has not seen yet
    assert told(await server.login()) == (400, "invalid_grant")


async def test_what_ended_elsewhere_is_revoked_without_a_word(server: Issuing):
    await server.make_user()
    token = (await server.login()).json()["access_token"]
    await server.users.remove(CALLER, "ada")
    assert (await server.revoke(token=token)).status_code == 200
    assert (await server.actions())[0] == "user.removed"
