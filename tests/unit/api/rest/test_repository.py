"""Triton's repository of models, without a server; tests/clients asks with its client."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.support.doors import Door, open_door

from headrace.auth.keys import KeyGuard
from headrace.errors import ModelUnknown, StoreUnusable, VersionUnfit
from headrace.types import Caller, Scope

LOAD = "/v2/repository/models/fake/load"
UNLOAD = "/v2/repository/models/fake/unload"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def error_of(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return str(response.json()["error"])


def changes(door: Door) -> list[str]:
    return [change.action for change in door.it.records.list_changes(before=None, limit=9, tenant=None)]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"parameters": {}}', b'{"other": 1}'])
@pytest.mark.parametrize("kind", [{}, {"content-type": "application/json"}])
async def test_a_model_that_is_served_is_what_the_store_says(door: Door, content: bytes, kind: dict[str, str]):
    response = await door.client.post(LOAD, content=content, headers=kind)
    assert (response.status_code, response.content) == (200, b"")
    assert changes(door) == ["model.settled"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"config": "{}"},
        {"file:1/model.onnx": "AAAA"},
        {"file:../../etc/passwd": "AAAA"},
        {"config": "{}", "file:1/model.py": ""},
        {"anything": None},
    ],
)
async def test_nothing_of_a_model_is_taken_from_a_request(door: Door, parameters: dict[str, Any]):
    response = await door.post(LOAD, parameters=parameters)
    assert response.status_code == 400
    assert repr(next(iter(parameters))) in error_of(response)
    assert "nothing of it comes from a request" in error_of(response)
    assert changes(door) == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"parameters": []}', "application/json", 400),
        (b'{"parameters": null}', "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
async def test_what_is_no_request_is_refused(door: Door, content: bytes, kind: str, status: int):
    response = await door.client.post(LOAD, content=content, headers={"content-type": kind})
    assert response.status_code == status
    assert error_of(response)


@pytest.mark.parametrize("change", ["load", "unload"])
async def test_a_model_that_is_not_served_is_not_loaded(door: Door, change: str):
    response = await door.client.post(f"/v2/repository/models/nothing/{change}")
    assert response.status_code == 404
    assert "'nothing'" in error_of(response)


@pytest.mark.parametrize(
    ("error", "status"), [(VersionUnfit("m"), 409), (StoreUnusable("m"), 500), (ModelUnknown("m"), 404)]
)
async def test_what_cannot_be_loaded_is_told(
    door: Door, error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
):
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(door.it.service, "settle", fail)
    response = await door.client.post(LOAD)
    assert (response.status_code, error_of(response)) == (status, "m")


@pytest.mark.parametrize("body", [{}, {"parameters": {"unload_dependents": False}}])
async def test_no_model_is_unloaded(door: Door, body: dict[str, Any]):
    response = await door.post(UNLOAD, **body)
    assert response.status_code == 400
    assert "'fake' stays loaded" in error_of(response)
    assert (await door.client.get("/v2/models/fake/ready")).status_code == 200


@pytest.mark.parametrize("path", ["/v2/repository/index", LOAD, UNLOAD])
async def test_who_shows_no_key_is_told_so(door: Door, path: str):
    response = await door.client.post(path, headers={"authorization": ""})
    assert response.status_code == 401
    error_of(response)


@pytest.mark.parametrize(
    ("path", "scope", "missing"),
    [
        (LOAD, Scope.MODELS_READ, "models:write"),
        (UNLOAD, Scope.INFER, "models:read"),
        ("/v2/repository/index", Scope.INFER, "models:read"),
    ],
)
async def test_who_may_not_do_it_is_told_so(
    door: Door, path: str, scope: Scope, missing: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(KeyGuard, "identify", lambda *_: Caller("somebody", frozenset({scope})))
    response = await door.client.post(path)
    assert response.status_code == 403
    assert missing in error_of(response)


async def test_who_may_use_another_model_loads_this_one_not(door: Door, monkeypatch: pytest.MonkeyPatch):
    other = Caller("other", frozenset(Scope), models=frozenset({"another"}))
    monkeypatch.setattr(KeyGuard, "identify", lambda *_: other)
    assert (await door.client.post(LOAD)).status_code == 403
