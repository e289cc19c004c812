"""The dialect of Infinity, without a server; tests/clients asks with its client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.doors import Door, open_door

from headrace.options import Options
from headrace.types import Classification, Label, Ranking

NO_MODEL = "default/not-specified"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def framed(answer: dict[str, Any]) -> bool:
    return {"object", "model", "usage", "id", "created"} <= set(answer)


@pytest.mark.parametrize("named", [{}, {"model": NO_MODEL}, {"model": "fake"}])
async def test_texts_get_the_vectors_of_the_native_dialect(door: Door, named: dict[str, str]):
    native = (await door.post("/api/v1/embed", inputs=["a", "w " * 30])).json()["results"]
    answer = (await door.post("/infinity/embeddings", input=["a", "w " * 30], dimensions=0, **named)).json()
    assert [item["embedding"] for item in answer["data"]] == [result["embedding"] for result in native]
    assert (framed(answer), answer["object"], answer["model"]) == (True, "list", "fake")


async def test_no_image_is_taken_for_a_text(door: Door):
    response = await door.post("/infinity/embeddings", input="data:image/png;base64,AAAA", modality="image")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "modality")


@pytest.mark.parametrize(("returned", "document"), [(False, {}), (True, {"document": "b"})])
async def test_documents_are_ranked(door: Door, returned: bool, document: dict[str, str]):
    door.answer(*(Ranking(tokens=3, truncated=False, index=index, score=0.5) for index in (1, 0)))
    body = {"query": "q", "documents": ["a", "b"], "return_documents": returned, "model": NO_MODEL, "top_n": 2}
    answer = (await door.post("/infinity/rerank", **body)).json()
    assert answer["results"][0] == {"index": 1, "relevance_score": 0.5, **document}
    assert (framed(answer), answer["object"]) == (True, "rerank")
    assert (door.asked[0].model, door.asked[0].options) == (None, Options(top_k=2))


async def test_texts_are_classified(door: Door):
    door.answer(Classification(tokens=3, truncated=False, labels=(Label("good", 0.75), Label("bad", 0.25))))
    answer = (await door.post("/infinity/classify", input=["a"], raw_scores=True)).json()
    assert answer["data"] == [[{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]]
    assert (framed(answer), door.asked[0].options.raw) == (True, True)


async def test_models_say_what_they_can(door: Door):
    (model,) = (await door.client.get("/infinity/models")).json()["data"]
    assert (model["id"], model["owned_by"], model["capabilities"]) == ("fake", "infinity", ["embed"])


async def test_health_needs_no_key_and_tells_when_the_server_stops(door: Door):
    response = await door.client.get("/infinity/health", headers={"authorization": ""})
    assert response.json()["unix"] > 1_600_000_000
    await door.it.registry.aclose()
    assert (await door.client.get("/infinity/health")).status_code == 503
