"""Every door gives the same verdict: the service decides, a door only spells."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from tests.support.doors import Door, open_door

from headrace import errors
from headrace.api.rest.app import build_routes
from headrace.api.rest.refusals import STATUS
from headrace.api.rest.route import DirectRoute
from headrace.auth.keys import KeyGuard
from headrace.errors import HeadraceError
from headrace.types import Caller, Scope

TEXT: Final = {"inputs": "a"}


@dataclass(frozen=True)
class Asking:
    """How a door is asked for an answer.

    Attributes:
        read: Returns the message of an error.
        others: The statuses that the dialect has others for.
    """

    path: str
    body: dict[str, Any]
    read: Callable[[Any], Any]
    others: dict[Any, int] = field(default_factory=dict)


def native(path: str, **body: Any) -> Asking:
    return Asking(f"/api/v1/{path}", {"inputs": ["a"], **body}, lambda error: error["detail"])


def openai(path: str, **body: Any) -> Asking:
    return Asking(path, body, lambda error: error["error"]["message"], {422: 400})


def tei(path: str, **body: Any) -> Asking:
    return Asking(path, body, lambda error: error["error"], {errors.TaskUnsupported: 424})


ASKING: Final = [
    *(native(task) for task in ("classify", "embed", "extract", "fill", "regress")),
    *(native(task, query="q") for task in ("answer", "rerank", "similarity")),
    native("zeroshot", labels=["b"]),
    openai("/v1/embeddings", input="a"),
    openai("/v1/moderations", input="a"),
    openai("/infinity/embeddings", input="a"),
    openai("/infinity/classify", input=["a"]),
    openai("/infinity/rerank", query="q", documents=["a"]),
    *(tei(f"{model}{path}", **TEXT) for model in ("", "/models/fake") for path in ("/embed", "/predict")),
    *(
        tei(f"{model}/similarity", inputs={"source_sentence": "q", "sentences": ["a"]})
        for model in ("", "/models/fake")
    ),
    *(
        tei(f"{model}{path}", query="q", documents=["a"])
        for model in ("", "/models/fake")
        for path in ("/rerank", "/v1/rerank", "/v2/rerank")
    ),
    *(tei(f"{model}{path}", texts=["a"]) for model in ("", "/models/fake") for path in ("/v1/embed", "/v2/embed")),
    tei("/models/fake", **TEXT),
    *(
        Asking(
            f"/v2/models/fake{version}/infer",
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]},
            lambda error: error["error"],
            {422: 400},
        )
        for version in ("", "/versions/champion")
    ),
]
# What can come of a request; the rest ends the start-up or a command.
REACHING: Final = [
    errors.RequestInvalid,
    errors.RequestTooLarge,
    errors.InputTooLong,
    errors.InputQuarantined,
    errors.ModelUnknown,
    errors.TaskUnsupported,
    errors.AccessDenied,
    errors.LimitExceeded,
    errors.QueueFull,
    errors.DeadlineExceeded,
    errors.ServiceStopping,
    errors.EngineFailed,
    errors.EngineUnavailable,
    errors.OutputInvalid,
]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def test_every_door_that_gives_answers_is_asked():
    posts = {
        route.path.replace("{name}", "fake").replace("{version}", "champion")
        for route in build_routes().router.routes
        if isinstance(route, DirectRoute) and "POST" in (route.methods or ())
    }
    changing = {f"/api/v1/models/fake/{change}" for change in ("promote", "rollback")}
    changing |= {"/api/v1/keys", "/api/v1/keys/{key_id}/rotate", "/api/v1/users"}
    changing |= {"/api/v1/token", "/api/v1/token/revoke"}  # whose errors are those of OAuth2
    in_lines = {"/api/v1/stream"}  # whose errors are those of the native dialect, each in its line
    repository = {f"/v2/repository/{rest}" for rest in ("index", "models/fake/load", "models/fake/unload")}
    refused = {"/embed_sparse", "/models/fake/embed_sparse"}
    assert posts - changing - repository - refused - in_lines == {asking.path for asking in ASKING}


@pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.path)
@pytest.mark.parametrize("error", REACHING, ids=lambda error: error.code)
async def test_an_error_has_one_verdict_at_every_door(door: Door, asking: Asking, error: type[HeadraceError]):
    door.fail(error("what, and what to do", retry_after_s=1.2))
    response = await door.post(asking.path, **asking.body)
    known = STATUS[error]
    assert response.status_code == asking.others.get(error, asking.others.get(known, known))
    assert asking.read(response.json()) == "what, and what to do"
    assert response.headers["retry-after"] == "2"
    assert "x-request-id" in response.headers


@pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.path)
async def test_who_shows_no_key_is_told_so(door: Door, asking: Asking):
    response = await door.client.post(asking.path, json=asking.body, headers={"authorization": ""})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert "API key" in asking.read(response.json())


@pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.path)
async def test_who_may_not_ask_models_is_told_so(door: Door, asking: Asking, monkeypatch: pytest.MonkeyPatch):
    reader = Caller("reader", frozenset({Scope.MODELS_READ}))
    monkeypatch.setattr(KeyGuard, "identify", lambda *_: reader)
    response = await door.post(asking.path, **asking.body)
    assert response.status_code == 403
    assert "'reader' may not use 'infer'" in asking.read(response.json())
