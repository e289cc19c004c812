"""Cohere's embeddings, without a server; tests/clients asks with its client."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.support.doors import Door, open_door

from headrace.errors import LimitExceeded
from headrace.options import Options
from headrace.types import Embedding

PATHS = ["/v1/embed", "/v2/embed", "/models/fake/v1/embed", "/models/fake/v2/embed"]
PATH = "/v2/embed"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


async def native(door: Door, *texts: str, **options: Any) -> list[list[float]]:
    answer = (await door.post("/api/v1/embed", inputs=texts, options=options)).json()
    return [result["embedding"] for result in answer["results"]]


@pytest.mark.parametrize("path", PATHS)
async def test_texts_get_the_vectors_of_the_native_dialect(door: Door, path: str):
    body = {"model": "fake", "texts": ["a", "b c"], "input_type": "search_document", "embedding_types": ["float"]}
    response = await door.post(path, **body, priority=3)
    answer = response.json()
    assert answer["embeddings"] == {"float": await native(door, "a", "b c")}
    assert (answer["response_type"], answer["texts"]) == ("embeddings_by_type", ["a", "b c"])
    assert (answer["id"], answer["meta"]) == (
        response.headers["x-request-id"],
        {"billed_units": {"input_tokens": 7}},
    )


async def test_who_names_no_form_gets_what_its_version_gives(door: Door):
    expected = await native(door, "a")
    answer = (await door.post("/v2/embed", texts=["a"])).json()
    assert (answer["response_type"], answer["embeddings"]) == ("embeddings_by_type", {"float": expected})
    answer = (await door.post("/v1/embed", texts=["a"])).json()
    assert (answer["response_type"], answer["embeddings"]) == ("embeddings_floats", expected)


@pytest.mark.parametrize("path", PATHS)
async def test_an_embedding_is_written_in_every_form_that_is_asked_for(door: Door, path: str):
    values = np.array([1.5, -2, 0, 3, -1, 1, 1, -4, 1, -1], np.float32)
    door.answer(Embedding(values=values, tokens=3, truncated=False))
    forms = ["float", "base64", "binary", "ubinary", "float"]
    found = (await door.post(path, texts=["a"], embedding_types=forms)).json()["embeddings"]
    assert found["float"] == [values.tolist()]
    assert np.array_equal(np.frombuffer(base64.b64decode(found["base64"][0]), "<f4"), values)
    assert found["ubinary"] == [[0b10010110, 0b10000000]]
    assert found["binary"] == [[0b10010110 - 128, 0]]
    assert len(found) == 4


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, Options()),
        ({"truncate": "NONE"}, Options(truncate="error")),
        ({"truncate": "END"}, Options(truncate="truncate")),
        ({"output_dimension": 4}, Options(dimensions=4)),
        ({"input_type": None, "embedding_types": None, "images": None, "inputs": None, "max_tokens": None}, Options()),
        ({"input_type": "search_query"}, Options(purpose="query")),
        ({"input_type": "search_document"}, Options(purpose="document")),
        ({"input_type": "classification"}, Options(purpose="classification")),
        ({"input_type": "clustering"}, Options(purpose="clustering")),
    ],
)
async def test_what_is_chosen_is_asked_of_the_service(door: Door, body: dict[str, Any], options: Options):
    door.answer(Embedding(values=np.ones(8, np.float32), tokens=3, truncated=False))
    assert (await door.post(PATH, texts=["a"], **body)).status_code == 200
    (asked,) = door.asked
    assert (asked.task, asked.inputs, asked.model, asked.options) == ("embed", ("a",), None, options)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "texts"),
        ({"texts": None}, "texts"),
        ({"texts": "a"}, "texts"),
        ({"texts": []}, "inputs is empty"),
        ({"texts": ["a", 1]}, "texts[1]"),
        ({"texts": [[1, 2]]}, "texts[0]"),
        ({"texts": ["a"], "input_type": "image"}, "input_type"),
        ({"texts": ["a"], "input_type": "query"}, "search_query"),
        ({"texts": ["a"], "embedding_types": "float"}, "embedding_types"),
        ({"texts": ["a"], "embedding_types": ["float", "int8"]}, "embedding_types[1]: int8 and uint8 need the range"),
        ({"texts": ["a"], "embedding_types": ["uint8"]}, "ask for float, base64, binary or ubinary"),
        ({"texts": ["a"], "embedding_types": [["int8"]]}, "embedding_types[0]"),
        ({"texts": ["a"], "embedding_types": ["double"]}, "embedding_types[0]"),
        ({"texts": ["a"], "truncate": "START"}, "truncate: only the end of a text is cut"),
        ({"texts": ["a"], "truncate": "start"}, "truncate"),
        ({"texts": ["a"], "truncate": {}}, "truncate"),
        ({"texts": ["a"], "output_dimension": 0}, "output_dimension"),
        ({"texts": ["a"], "output_dimension": 9}, "8 dimensions"),
        ({"texts": ["a"], "max_tokens": 16}, "leave max_tokens out"),
        ({"images": ["data:image/png;base64,AAAA"]}, "images: only texts are read"),
        ({"inputs": [{"content": [{"type": "text", "text": "a"}]}]}, "inputs: only texts are read"),
        ({"texts": ["a"], "images": []}, "images: only texts are read"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(door: Door, path: str, body: dict[str, Any], said: str):
    response = await door.post(path, **body)
    assert response.status_code == 422, response.text
    assert said in response.json()["message"]
    assert response.json()["id"] == response.headers["x-request-id"]


async def test_a_text_over_the_window_is_cut_or_refused(door: Door):
    text = "w " * 30
    answer = (await door.post(PATH, texts=[text])).json()
    assert answer["embeddings"]["float"] == await native(door, text, truncate="truncate")
    assert (await door.post(PATH, texts=[text], truncate="NONE")).status_code == 422


async def test_clients_hear_when_to_ask_again(door: Door):
    door.fail(LimitExceeded("m", retry_after_s=2))
    response = await door.post(PATH, texts=["a"])
    assert (response.status_code, response.headers["retry-after"], response.json()["message"]) == (429, "2", "m")
