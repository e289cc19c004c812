from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.rest.app import build_app
from headrace.types import Scope

BOSS = "the-key-of-the-settings"


@dataclass
class Api:
    """The server, and ways to ask it."""

    it: ServiceUnderTest
    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, key: str = BOSS, **options: Any) -> httpx.Response:
        return await self.client.request(
            method, f"/api/v1/{path}", headers={"authorization": f"Bearer {key}"}, **options
        )

    async def make(self, **wanted: Any) -> dict[str, Any]:
        reply = await self.ask("POST", "keys", json={"name": "job", "scopes": ["infer"], **wanted})
        assert reply.status_code == 201, reply.text
        return reply.json()  # type: ignore[no-any-return]

    async def embed(self, key: str, **body: Any) -> int:
        return (await self.ask("POST", "embed", key, json={"inputs": ["a"], **body})).status_code


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context([BOSS])), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Api(it, client)


async def test_a_key_is_made_used_shown_and_revoked(api: Api):
    reply = await api.ask("POST", "keys", json={"name": "job", "scopes": ["infer", "models:read"], "lasts_s": 3600})
    made = reply.json()
    assert reply.headers["location"] == f"/api/v1/keys/{made['id']}"
    assert reply.headers["cache-control"] == "no-store"
    assert await api.embed(made["key"]) == 200
    shown = (await api.ask("GET", f"keys/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert (shown["scopes"], shown["models"], shown["tenant"]) == (["infer", "models:read"], None, "")
    assert shown["created_at"].endswith("Z")
    ended = (await api.ask("DELETE", f"keys/{made['id']}")).json()
    assert ended["ends_at"] < made["ends_at"]
    assert await api.embed(made["key"]) == 401


async def test_a_key_is_rotated(api: Api):
    old = await api.make()
    reply = await api.ask("POST", f"keys/{old['id']}/rotate", json={"grace_s": 60})
    assert reply.status_code == 201
    assert [await api.embed(key) for key in (old["key"], reply.json()["key"])] == [200, 200]
    await api.ask("POST", f"keys/{reply.json()['id']}/rotate", json={})
    assert await api.embed(reply.json()["key"]) == 401


async def test_a_key_for_some_models_reaches_no_other(api: Api):
    key = (await api.make(models=["other"], scopes=["infer", "models:read", "models:write"]))["key"]
    refused = await api.ask("POST", "embed", key, json={"inputs": ["a"]})
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (403, "access.denied", "model")
    assert (await api.ask("GET", "models", key)).json() == {"models": []}
    for method, path in [("GET", "models/fake"), ("GET", "models/fake/roles"), ("POST", "models/fake/rollback")]:
        assert (await api.ask(method, path, key)).status_code == 403
    key = (await api.make(models=["fake"], scopes=["infer", "models:read"]))["key"]
    assert await api.embed(key) == 200
    assert len((await api.ask("GET", "models", key)).json()["models"]) == 1


async def test_what_one_tenant_asked_is_remembered_for_no_other(api: Api):
    keys = [(await api.make(tenant=tenant))["key"] for tenant in ("acme", "acme", "other")]
    replies = [await api.ask("POST", "embed", key, json={"inputs": ["same"]}) for key in keys]
    assert [reply.json()["usage"]["cached"] for reply in replies] == [0, 1, 0]


async def test_lists_come_in_pages(api: Api):
    made = [(await api.make())["id"] for _ in range(3)]
    first = (await api.ask("GET", "keys?limit=2")).json()
    assert ([key["id"] for key in first["keys"]], first["next"]) == (made[:2], made[1])
    second = (await api.ask("GET", f"keys?limit=2&cursor={first['next']}")).json()
    assert ([key["id"] for key in second["keys"]], second["next"]) == (made[2:], None)
    changes = (await api.ask("GET", "changes?limit=2")).json()
    assert [each["subject"] for each in changes["changes"]] == made[:0:-1]
    rest = (await api.ask("GET", f"changes?limit=2&cursor={changes['next']}")).json()
    assert ([each["subject"] for each in rest["changes"]], rest["next"]) == (made[:1], None)
    assert rest["changes"][0]["caller"].startswith("key-")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=9999999999999999999999", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "query"),
        ("page=2", "query"),
        ("cursor=x", "cursor"),
        ("cursor=0", "cursor"),
        ("cursor=-5", "cursor"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(api: Api, query: str, field: str):
    reply = await api.ask("GET", f"changes?{query}")
    assert (reply.status_code, reply.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["fly"]}, "scopes[0]"),
        ({"name": "a", "scopes": ["infer"] * 33}, "scopes"),
        ({"name": "", "scopes": ["infer"]}, "name"),
        ({"name": "nul\x00", "scopes": ["infer"]}, "name"),
        ({"name": "a", "scopes": ["infer"], "tenant": "A B"}, "tenant"),
        ({"name": "a", "scopes": ["infer"], "models": ["../x"]}, "models"),
        ({"name": "a", "scopes": ["infer"], "lasts_s": -1}, "lasts_s"),
        ({"name": "a", "scopes": ["infer"], "lasts_s": 1e300}, "lasts_s"),
        ({"name": "a", "scopes": ["infer"], "digest": "x"}, "digest"),
    ],
)
async def test_what_no_key_can_be_is_refused(api: Api, body: dict[str, Any], field: str):
    reply = await api.ask("POST", "keys", json=body)
    assert (reply.status_code, reply.json()["field"]) == (422, field)
    assert (await api.ask("GET", "keys")).json()["keys"] == []


async def test_a_key_that_is_not_there_is_told(api: Api):
    for method, path in [("GET", "keys/x%00y"), ("DELETE", "keys/nope"), ("GET", "keys?cursor=nope")]:
        reply = await api.ask(method, path)
        assert (reply.status_code, reply.json()["code"]) == (404, "key.unknown")


async def test_changes_need_their_scope(api: Api):
    others = [str(scope) for scope in Scope if scope not in {Scope.KEYS, Scope.ADMIN}]
    key = (await api.make(scopes=others))["key"]
    for method, path in [
        ("GET", "keys"),
        ("POST", "keys"),
        ("GET", "keys/x"),
        ("DELETE", "keys/x"),
        ("GET", "changes"),
    ]:
        body = {"json": {"name": "a", "scopes": ["infer"]}} if method == "POST" else {}
        assert (await api.ask(method, path, key, **body)).status_code == 403


async def test_while_the_records_are_gone_texts_are_answered_and_changes_refused(api: Api):
    key = (await api.make())["key"]
    api.it.records.is_gone = True
    assert await api.embed(key) == 200
    for method, path, body in [("POST", "keys", {"name": "a", "scopes": ["infer"]}), ("GET", "keys", None)]:
        reply = await api.ask(method, path, json=body)
        assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "records.unusable", "1")
    refused = await api.ask("POST", "models/fake/promote", json={"revision": "x"})
    assert refused.status_code == 503


async def test_who_changes_which_version_answers_is_noted(api: Api):
    reply = await api.ask("POST", "models/fake/promote", json={"revision": "\u0000no such version"})
    assert reply.status_code == 404
    changes = (await api.ask("GET", "changes")).json()["changes"]
    assert [each["action"] for each in changes] == ["model.promoted failed: model.unknown", "model.promoted"]
    assert changes[0]["subject"] == "fake@\ufffdno such version"


async def test_with_the_first_key_this_machine_needs_one_too():
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            made = await client.post("/api/v1/keys", json={"name": "first", "scopes": ["infer"]})
            assert made.status_code == 201
            assert (await client.get("/api/v1/models")).status_code == 401
            elsewhere = await client.post(
                "/api/v1/embed",
                json={"inputs": ["a"]},
                headers={"x-api-key": made.json()["key"], "host": "models.example.com"},
            )
            assert elsewhere.status_code == 200
