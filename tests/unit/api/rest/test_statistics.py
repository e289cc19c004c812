"""Triton's statistics, without a server; tests/clients asks with its client."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.doors import Door, open_door

from headrace.api.rest.statistics import Statistics
from headrace.auth.keys import KeyGuard
from headrace.types import Caller, Scope

PATHS = ["/v2/models/stats", "/v2/models/fake/stats", "/v2/models/fake/versions/champion/stats"]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


async def stats(door: Door, path: str = PATHS[0]) -> dict[str, Any]:
    response = await door.client.get(path)
    assert response.status_code == 200, response.text
    (model,) = Statistics.model_validate_json(response.content, strict=True).model_dump()["model_stats"]
    return dict(model)


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_model_has_done_is_counted(door: Door, path: str):
    before = await stats(door, path)
    assert before["last_inference"] == 0
    assert (await door.post("/api/v1/embed", inputs=["a", "b"])).status_code == 200
    assert (await door.post("/api/v1/embed", inputs=["a", "b"])).status_code == 200
    assert (await door.post("/api/v1/classify", inputs=["a"])).status_code == 422
    after = await stats(door, path)
    assert (after["name"], after["version"]) == (
        "fake",
        (await door.client.get("/v2/models/fake")).json()["versions"][0],
    )
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] >= 1
    assert 0 <= time.time() - after["last_inference"] / 1000 < 60
    counts = {word: times["count"] for word, times in after["inference_stats"].items()}
    once = {"queue": 1, "compute_input": 1, "compute_infer": 1, "cache_hit": 1}
    assert counts == {"success": 2, "fail": 1, **once, "compute_output": 0, "cache_miss": 0}
    assert 0 < after["inference_stats"]["compute_infer"]["ns"] <= after["inference_stats"]["success"]["ns"]
    batches = {each["batch_size"]: each["compute_infer"] for each in after["batch_stats"]}
    assert sum(size * each["count"] for size, each in batches.items()) == after["inference_count"]
    assert list(batches) == sorted(batches)


@pytest.mark.parametrize("path", ["/v2/models/nothing/stats", "/v2/models/fake/versions/zzz/stats"])
async def test_what_is_not_there_is_not_found(door: Door, path: str):
    response = await door.client.get(path)
    assert (response.status_code, set(response.json())) == (404, {"error"})


@pytest.mark.parametrize("path", PATHS)
async def test_who_shows_no_key_is_told_so(door: Door, path: str):
    response = await door.client.get(path, headers={"authorization": ""})
    assert (response.status_code, set(response.json())) == (401, {"error"})


@pytest.mark.parametrize("path", PATHS)
async def test_who_may_not_see_models_sees_no_counts(door: Door, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(KeyGuard, "identify", lambda *_: Caller("asker", frozenset({Scope.INFER})))
    response = await door.client.get(path)
    assert response.status_code == 403
    assert "'models:read'" in response.json()["error"]


async def test_who_may_use_other_models_sees_theirs(door: Door, monkeypatch: pytest.MonkeyPatch):
    other = Caller("other", frozenset({Scope.MODELS_READ}), models=frozenset({"another"}))
    monkeypatch.setattr(KeyGuard, "identify", lambda *_: other)
    assert (await door.client.get(PATHS[0])).json() == {"model_stats": []}
    for path in PATHS[1:]:
        assert (await door.client.get(path)).status_code == 403


async def test_a_version_may_be_named_with_its_model(door: Door):
    assert (await stats(door, "/v2/models/fake@champion/stats"))["name"] == "fake"
