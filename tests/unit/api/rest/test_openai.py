"""The dialect of OpenAI's clients, without a server; tests/clients asks with the clients themselves."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.doors import Door, open_door

from headrace.api.rest.openai import EmbeddingList, ErrorResponse, ModelList, ModelObject
from headrace.errors import EngineFailed, EngineUnavailable, LimitExceeded, QueueFull


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


@pytest.fixture
def client(door: Door) -> httpx.AsyncClient:
    return door.client


async def embed(client: httpx.AsyncClient, **body: Any) -> EmbeddingList:
    response = await client.post("/v1/embeddings", json=body)
    assert response.status_code == 200, response.text
    return EmbeddingList.model_validate_json(response.content, strict=True)


async def native(client: httpx.AsyncClient, *texts: str, **options: Any) -> list[list[float]]:
    response = await client.post("/api/v1/embed", json={"inputs": texts, "options": options})
    return [result["embedding"] for result in response.json()["results"]]


async def test_texts_get_the_vectors_of_the_native_dialect(client: httpx.AsyncClient):
    answer = await embed(client, model="fake", input=["a", "b c", ""], user="somebody")
    assert [item.embedding for item in answer.data] == await native(client, "a", "b c", "")
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("fake", 9, 9)


async def test_one_text_need_not_be_a_list_nor_a_model_be_named(client: httpx.AsyncClient):
    (item,) = (await embed(client, input="a")).data
    assert [item.embedding] == await native(client, "a")


async def test_base64_holds_the_same_numbers(client: httpx.AsyncClient):
    (item,) = (await embed(client, input="a", encoding_format="base64")).data
    assert isinstance(item.embedding, str)
    numbers = np.frombuffer(base64.b64decode(item.embedding), "<f4")
    assert numbers.tolist() == np.asarray((await native(client, "a"))[0], np.float32).tolist()


@pytest.mark.parametrize("truncate", ["truncate", "chunk"])
async def test_a_text_over_the_window_is_refused_unless_it_may_be_cut(client: httpx.AsyncClient, truncate: str):
    text = "w " * 30
    error = await refused(client, 400, input=["a", text])
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input[1]")
    (item,) = (await embed(client, input=text, truncate=truncate)).data
    assert [item.embedding] == await native(client, text, truncate=truncate)


async def refused(client: httpx.AsyncClient, status: int, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/embeddings", json=body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert "x-request-id" in response.headers
    return ErrorResponse.model_validate_json(response.content, strict=True).error.model_dump()


@pytest.mark.parametrize(
    ("body", "status", "kind", "param", "code"),
    [
        ({}, 400, "invalid_request_error", "input", "request.invalid"),
        ({"input": None}, 400, "invalid_request_error", "input", "request.invalid"),
        ({"input": []}, 400, "invalid_request_error", "input", "request.invalid"),
        ({"input": ["a", 1]}, 400, "invalid_request_error", "input[1]", "request.invalid"),
        ({"input": ["a"] * 300}, 413, "invalid_request_error", "input", "request.too_large"),
        ({"input": "a", "encoding_format": "int8"}, 400, "invalid_request_error", "encoding_format", "request.invalid"),
        ({"input": "a", "dimensions": 0}, 400, "invalid_request_error", "dimensions", "request.invalid"),
        ({"input": "a", "dimensions": 9}, 400, "invalid_request_error", "dimensions", "request.invalid"),
        ({"input": "a", "prompt": "query"}, 400, "invalid_request_error", "prompt", "request.invalid"),
        ({"input": "a", "model": "gpt"}, 404, "invalid_request_error", "model", "model_not_found"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_in_the_shape_that_clients_read(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, kind: str, param: str, code: str
):
    error = await refused(client, status, **body)
    assert (error["type"], error["param"], error["code"]) == (kind, param, code)
    assert error["message"]


@pytest.mark.parametrize(
    ("raw", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "request.malformed"),
        (b"{", "application/json", 400, "request.malformed"),
        (b"[]", "application/json", 400, "request.invalid"),
        (b'{"input": "\\ud800"}', "application/json", 400, "request.malformed"),
        (b'{"input": "a"}', "text/plain", 415, "request.unsupported"),
        (b'{"input": "' + b"a" * (5 << 20) + b'"}', "application/json", 413, "request.too_large"),
    ],
)
async def test_what_is_no_request_is_refused_in_the_same_shape(
    client: httpx.AsyncClient, raw: bytes, kind: str, status: int, code: str
):
    response = await client.post("/v1/embeddings", content=raw, headers={"content-type": kind})
    error = ErrorResponse.model_validate_json(response.content, strict=True).error
    assert (response.status_code, error.type, error.code) == (status, "invalid_request_error", code)


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]]])
async def test_token_ids_are_refused_and_never_read_as_a_text(client: httpx.AsyncClient, ids: list[Any]):
    error = await refused(client, 400, input=ids)
    assert "check_embedding_ctx_length=False" in error["message"]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (LimitExceeded("m"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (QueueFull("m"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (EngineFailed("m"), 500, "server_error", "engine.failed"),
        (EngineUnavailable("m"), 503, "server_error", "engine.unavailable"),
        (ValueError("secret"), 500, "server_error", "internal.error"),
    ],
)
async def test_what_the_server_cannot_do_has_the_same_shape(
    door: Door, error: Exception, status: int, kind: str, code: str
):
    door.fail(error)
    response = await door.post("/v1/embeddings", input="a")
    told = response.json()["error"]
    assert (response.status_code, told["type"], told["code"]) == (status, kind, code)
    assert "secret" not in response.text


async def test_clients_hear_when_to_ask_again(door: Door):
    door.fail(QueueFull("m", retry_after_s=2.2))
    assert (await door.post("/v1/embeddings", input="a")).headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/x")]
)
async def test_without_a_key_there_is_no_answer(client: httpx.AsyncClient, method: str, path: str):
    response = await client.request(method, path, headers={"authorization": "Bearer wrong-key-wrong-key"})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json()["error"]["code"] == "invalid_api_key"


async def test_another_method_is_refused_in_the_same_shape(client: httpx.AsyncClient):
    response = await client.get("/v1/embeddings")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["code"] == "method.unsupported"


async def test_models_are_listed_and_shown(client: httpx.AsyncClient):
    models = ModelList.model_validate_json((await client.get("/v1/models")).content, strict=True)
    assert [(model.id, model.owned_by) for model in models.data] == [("fake", "headrace")]
    one = ModelObject.model_validate_json((await client.get("/v1/models/fake")).content, strict=True)
    assert one == models.data[0]
    assert one.created > 1_600_000_000


@pytest.mark.parametrize("name", ["gpt", "org%2Fmodel", "org/model"])
async def test_a_model_that_is_not_served_is_not_found(client: httpx.AsyncClient, name: str):
    response = await client.get(f"/v1/models/{name}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
