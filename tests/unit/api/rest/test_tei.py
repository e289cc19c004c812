"""The dialect of text-embeddings-inference, without a server; tests/clients asks with clients of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.support.doors import Door, open_door
from tests.support.manifests import describe_model
from tests.support.services import CALLER

from headrace.api.rest.tei import TeiError
from headrace.errors import (
    EngineFailed,
    EngineUnavailable,
    InputTooLong,
    LimitExceeded,
    ModelUnknown,
    QueueFull,
    TaskUnsupported,
)
from headrace.options import Options
from headrace.service import ServedModel
from headrace.types import Classification, Label, Similarity

LABELS = (Label("good", 0.9), Label("bad", 0.1))
SHOWN = [{"score": 0.9, "label": "good"}, {"score": 0.1, "label": "bad"}]
IN_EVERY_DIALECT = ("x-request-id", "x-cache")


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def classified(texts: int) -> tuple[Classification, ...]:
    return tuple(Classification(tokens=3, truncated=False, labels=LABELS) for _ in range(texts))


async def native(door: Door, *texts: str, **options: Any) -> list[list[float]]:
    response = await door.post("/api/v1/embed", inputs=texts, options=options)
    return [result["embedding"] for result in response.json()["results"]]


@pytest.mark.parametrize("path", ["/embed", "/models/fake/embed"])
async def test_texts_get_the_vectors_of_the_native_dialect(door: Door, path: str):
    assert (await door.post(path, inputs=["a", "b c"])).json() == await native(door, "a", "b c")
    assert (await door.post(path, inputs="a")).json() == await native(door, "a")


async def test_vectors_have_length_1_unless_it_is_said_otherwise(door: Door):
    raw = (await door.post("/embed", inputs="a", normalize=False)).json()
    assert raw == await native(door, "a", normalize=False)
    assert raw != (await door.post("/embed", inputs="a")).json()


@pytest.mark.parametrize(("truncate", "chosen"), [(None, "truncate"), (True, "truncate"), (False, "error")])
async def test_truncate_is_the_service_s_choice(door: Door, truncate: bool | None, chosen: str):
    door.answer(*classified(1))
    await door.post("/predict", inputs="a", truncate=truncate, truncation_direction="right")
    assert door.asked[0].options.truncate == chosen


async def test_an_answer_tells_what_it_took(door: Door):
    door.answer(*classified(2))
    headers = (await door.post("/predict", inputs=[["ab"], ["cde"]])).headers
    assert {name: headers[name] for name in headers if name.startswith("x-") and name not in IN_EVERY_DIALECT} == {
        "x-compute-type": "cpu",
        "x-compute-characters": "5",
        "x-compute-tokens": "6",
        "x-compute-time": "6",
        "x-total-time": "8",
        "x-tokenization-time": "2",
        "x-queue-time": "1",
        "x-inference-time": "4",
    }


@pytest.mark.parametrize(
    ("inputs", "texts", "shown"),
    [("a", ("a",), SHOWN), (["a"], ("a",), SHOWN), ([["a"], ["b"]], ("a", "b"), [SHOWN, SHOWN])],
)
async def test_one_text_gets_a_list_of_labels_and_many_get_a_list_of_lists(
    door: Door, inputs: Any, texts: tuple[str, ...], shown: Any
):
    door.answer(*classified(len(texts)))
    response = await door.post("/predict", inputs=inputs, raw_scores=True)
    assert response.json() == shown
    assert (door.asked[0].task, door.asked[0].inputs) == ("classify", texts)
    assert door.asked[0].options == Options(raw=True)


async def test_sentences_are_compared(door: Door):
    door.answer(*(Similarity(tokens=3, truncated=False, score=score) for score in (0.25, 0.5)))
    body = {"inputs": {"source_sentence": "q", "sentences": ["a", "b"]}, "parameters": {"prompt_name": "p"}}
    assert (await door.post("/similarity", **body)).json() == [0.25, 0.5]
    asked = door.asked[0]
    assert (asked.task, asked.query, asked.inputs) == ("similarity", "q", ("a", "b"))
    assert (asked.options.prompt, asked.options.query_prompt) == ("p", "p")


def error_of(response: httpx.Response) -> TeiError:
    assert response.headers["content-type"] == "application/json"
    return TeiError.model_validate_json(response.content, strict=True)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/embed", {}, "inputs"),
        ("/embed", {"inputs": [1, 2]}, "token ids"),
        ("/embed", {"inputs": [[1, 2]]}, "token ids"),
        ("/embed", {"inputs": "a", "dimensions": 0}, "dimensions"),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, "prompt"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, "truncation_direction"),
        ("/predict", {"inputs": ["a", "b"]}, "/rerank"),
        ("/predict", {"inputs": [["a", "b"]]}, "/rerank"),
        ("/predict", {"inputs": []}, "0 texts"),
        ("/predict", {"inputs": 5}, "inputs"),
        ("/similarity", {"inputs": {"source_sentence": "q"}}, "sentences"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_the_shape_that_clients_read(
    door: Door, path: str, body: dict[str, Any], said: str
):
    response = await door.post(path, **body)
    error = error_of(response)
    assert (response.status_code, error.error_type) == (422, "Validation")
    assert said in error.error == error.message


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InputTooLong("m"), 422, "Validation"),
        (ModelUnknown("m"), 404, "Validation"),
        (TaskUnsupported("m"), 424, "Backend"),
        (QueueFull("m"), 429, "Overloaded"),
        (LimitExceeded("m"), 429, "Overloaded"),
        (EngineUnavailable("m"), 503, "Unhealthy"),
        (EngineFailed("m"), 500, "Backend"),
        (ValueError("secret"), 500, "Backend"),
    ],
)
async def test_errors_have_the_words_of_the_dialect(door: Door, error: Exception, status: int, kind: str):
    door.fail(error)
    response = await door.post("/embed", inputs="a")
    assert (response.status_code, error_of(response).error_type) == (status, kind)
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/info", "/models/fake/info"])
async def test_a_model_is_described_as_clients_expect(door: Door, path: str):
    info = (await door.client.get(path)).json()
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (info["served_model_name"], info["max_client_batch_size"], info["auto_truncate"]) == ("fake", 256, True)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"pooling": "lasttoken"}, {"embedding": {"pooling": "last_token"}}),
        (
            {"task": "classify", "labels": ("no", "yes")},
            {"classifier": {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}},
        ),
        ({"task": "rerank"}, {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}),
    ],
)
async def test_each_kind_of_model_is_told(
    door: Door, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], kind: dict[str, Any]
):
    served = describe(door, **changes)
    monkeypatch.setattr(door.it.service, "list_models", lambda _: [served])
    assert (await door.client.get("/info")).json()["model_type"] == kind


async def test_a_model_that_the_dialect_has_no_word_for_says_where_it_can_be_asked(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    served = describe(door, task="regress")
    monkeypatch.setattr(door.it.service, "list_models", lambda _: [served])
    response = await door.client.get("/info")
    assert response.status_code == 424
    assert "/api/v1/regress" in error_of(response).error


def describe(door: Door, **changes: Any) -> ServedModel:
    manifest = describe_model(name="fake", **changes)
    return replace(door.it.service.show_model(CALLER, "fake"), manifest=manifest)


async def test_health_needs_no_key_and_tells_when_the_server_stops(door: Door):
    response = await door.client.get("/health", headers={"authorization": ""})
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    await door.it.registry.aclose()
    response = await door.client.get("/health")
    assert (response.status_code, error_of(response).error_type) == (503, "Unhealthy")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/embed"), ("POST", "/models/fake/predict"), ("POST", "/rerank"), ("GET", "/info")]
)
async def test_without_a_key_there_is_no_answer(door: Door, method: str, path: str):
    response = await door.client.request(method, path, headers={"authorization": ""})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    error_of(response)


@pytest.mark.parametrize("path", ["/embed_sparse", "/models/fake/embed_sparse"])
@pytest.mark.parametrize("content", [b'{"inputs": "a"}', b"", b"{", b"x" * 1000])
async def test_sparse_embeddings_are_refused_as_those_of_another_model(door: Door, path: str, content: bytes):
    response = await door.client.post(path, content=content)
    error = TeiError.model_validate_json(response.content, strict=True)
    assert (response.status_code, error.error_type) == (424, "Backend")
    assert "/embed gives dense ones" in error.error


async def test_a_model_that_is_not_there_gives_no_sparse_embeddings_either(door: Door):
    assert (await door.post("/models/nothing/embed_sparse", inputs="a")).status_code == 404


@pytest.mark.parametrize("path", ["/embed_sparse", "/models/fake/embed_sparse"])
async def test_who_shows_no_key_hears_nothing_of_sparse_embeddings(door: Door, path: str):
    assert (await door.client.post(path, headers={"authorization": ""})).status_code == 401
