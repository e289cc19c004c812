from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.issuing import BOSS, PASSWORD, Issuing, issuing

from headrace.types import Scope


class Api:
    """The server, and ways to ask it."""

    def __init__(self, server: Issuing) -> None:
        self.server = server

    async def ask(self, method: str, path: str = "", key: str = BOSS, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return await self.server.client.request(method, f"/api/v1/users{path}", headers=headers, **options)

    async def make(self, key: str = BOSS, **wanted: Any) -> httpx.Response:
        body = {"name": "ada", "password": PASSWORD, "scopes": ["infer"], **wanted}
        return await self.ask("POST", key=key, json=body)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with issuing(tmp_path) as server:
        yield Api(server)


async def test_a_user_is_made_shown_given_a_password_and_removed(api: Api):
    made = await api.make(name="ada@example.com", tenant="acme", models=["fake"])
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/users/ada@example.com")
    user = made.json()
    assert set(user) == {"id", "name", "tenant", "scopes", "models", "created_at"}
    assert (user["tenant"], user["scopes"], user["models"]) == ("acme", ["infer"], ["fake"])
    path = "/ada@example.com"
    assert (await api.ask("GET", path)).json() == user
    assert (await api.ask("GET")).json() == {"users": [user], "next": None}
    assert (await api.server.login("ada@example.com")).status_code == 200
    changed = await api.ask("PUT", f"{path}/password", json={"password": "another password"})
    assert (changed.status_code, changed.json()) == (200, user)
    assert (await api.server.login("ada@example.com")).status_code == 400
    assert (await api.server.login("ada@example.com", "another password")).status_code == 200
    assert (await api.ask("DELETE", path)).json() == user
    assert (await api.server.login("ada@example.com", "another password")).status_code == 400
    assert await api.server.actions() == ["user.removed", "user.password", "user.created"]


async def test_lists_come_in_pages(api: Api):
    for name in ("a", "b", "c"):
        await api.make(name=name)
    first = (await api.ask("GET", "?limit=2")).json()
    assert ([user["name"] for user in first["users"]], first["next"]) == (["a", "b"], "b")
    second = (await api.ask("GET", "?limit=2&cursor=b")).json()
    assert ([user["name"] for user in second["users"]], second["next"]) == (["c"], None)
    assert (await api.ask("GET", "?cursor=nobody")).json()["code"] == "user.unknown"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ...}, "name"),
        ({"name": ""}, "name"),
        ({"name": "Ada"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "ada\n"}, "name"),
        ({"password": ...}, "password"),
        ({"password": "canary"}, "password"),
        ({"password": "canary" * 100}, "password"),
        ({"password": ["canary-of-a-secret"]}, "password"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["fly"]}, "scopes[0]"),
        ({"tenant": "A B"}, "tenant"),
        ({"models": ["../x"]}, "models"),
        ({"verifier": "canary"}, "verifier"),
    ],
)
async def test_what_no_user_can_be_is_refused(api: Api, body: dict[str, Any], field: str):
    whole = {"name": "ada", "password": PASSWORD, "scopes": ["infer"], **body}
    reply = await api.ask("POST", json={name: value for name, value in whole.items() if value is not ...})
    assert (reply.status_code, reply.json()["field"]) == (422, field)
    assert "canary" not in reply.text
    assert (await api.ask("GET")).json()["users"] == []


async def test_a_name_is_one_users(api: Api):
    assert (await api.make()).status_code == 201
    reply = await api.make()
    assert (reply.status_code, reply.json()["code"]) == (409, "user.taken")


async def test_nobody_gives_more_than_they_have(api: Api):
    made = await api.server.make_key(Scope.INFER, Scope.KEYS, tenant="acme", models=frozenset({"fake"}))
    for more in ({"scopes": ["admin"]}, {"tenant": "other"}, {"tenant": ""}, {"models": ["another"]}):
        reply = await api.make(made.text, **more)
        assert (reply.status_code, reply.json()["code"]) == (403, "access.denied")
    mine = (await api.make(made.text)).json()
    assert (mine["tenant"], mine["models"]) == ("acme", ["fake"])


async def test_a_password_of_somebody_who_may_do_more_is_not_set(api: Api):
    made = await api.server.make_key(Scope.INFER, Scope.KEYS, tenant="acme")
    await api.make(name="boss", tenant="acme", scopes=["infer", "admin"])
    await api.make(name="stranger", tenant="other")
    changed = {"password": "another password"}
    assert (await api.ask("PUT", "/boss/password", made.text, json=changed)).status_code == 403
    for method, path in (("PUT", "/stranger/password"), ("GET", "/stranger"), ("DELETE", "/stranger")):
        reply = await api.ask(method, path, made.text, **({"json": changed} if method == "PUT" else {}))
        assert (reply.status_code, reply.json()["code"]) == (404, "user.unknown")
    assert [user["name"] for user in (await api.ask("GET", key=made.text)).json()["users"]] == ["boss"]


async def test_users_are_for_who_has_the_scope(api: Api):
    made = await api.server.make_key(Scope.INFER)
    for method, path in (("GET", ""), ("GET", "/a"), ("DELETE", "/a")):
        assert (await api.ask(method, path, made.text)).status_code == 403
        assert (await api.ask(method, path, "nobody-knows-this-key")).status_code == 401
    assert (await api.make(made.text)).status_code == 403


async def test_records_that_are_gone_are_told(api: Api):
    api.server.it.records.is_gone = True
    assert (await api.ask("GET")).status_code == 503
    assert (await api.make()).status_code == 503
