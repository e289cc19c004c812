"""Rankings in the dialects of Cohere, Jina and text-embeddings-inference; tests/clients asks with their clients."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.doors import Door, open_door

from headrace.errors import TaskUnsupported
from headrace.options import Options
from headrace.types import Ranking

PATHS = ["/rerank", "/v1/rerank", "/v2/rerank"]
BEST = (1, 0.75), (0, 0.25)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        door.answer(*(Ranking(tokens=4, truncated=False, index=index, score=score) for index, score in BEST))
        yield door


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("documents", [["a", "b"], [{"text": "a"}, {"text": "b", "title": "t"}]])
async def test_documents_get_an_object_with_the_best_first(door: Door, path: str, documents: list[Any]):
    response = await door.post(path, model="fake", query="q", documents=documents, top_n=2, rank_fields=["text"])
    answer = response.json()
    assert answer["results"] == [{"index": index, "relevance_score": score} for index, score in BEST]
    assert (answer["model"], answer["usage"]["total_tokens"]) == ("fake", 8)
    assert answer["id"] == response.headers["x-request-id"]
    asked = door.asked[0]
    assert (asked.task, asked.model, asked.query, asked.inputs) == ("rerank", "fake", "q", ("a", "b"))
    assert asked.options == Options(top_k=2)


async def test_documents_come_back_if_asked_for(door: Door):
    answer = (await door.post("/v1/rerank", query="q", documents=["a", "b"], return_documents=True)).json()
    assert [result["document"] for result in answer["results"]] == [{"text": "b"}, {"text": "a"}]


@pytest.mark.parametrize("path", ["/rerank", "/models/other/rerank"])
async def test_texts_get_a_bare_list(door: Door, path: str):
    response = await door.post(path, query="q", texts=["a", "b"], raw_scores=True, truncate=False)
    assert response.json() == [{"index": index, "score": score} for index, score in BEST]
    assert response.headers["x-compute-tokens"] == "8"
    assert door.asked[0].options == Options(raw=True, truncate="error")
    assert door.asked[0].model == ("other" if "other" in path else None)


async def test_texts_come_back_if_asked_for(door: Door):
    answer = (await door.post("/rerank", query="q", texts=["a", "b"], return_text=True)).json()
    assert [result["text"] for result in answer] == ["b", "a"]


async def test_none_as_number_means_all(door: Door):
    await door.post("/rerank", query="q", documents=["a", "b"], top_n=0)
    assert door.asked[0].options.top_k is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": "q"}, "documents"),
        ({"query": "q", "texts": ["a"], "documents": ["a"]}, "documents"),
        ({"documents": ["a"]}, "query"),
        ({"query": "q", "documents": "a"}, "documents"),
        ({"query": "q", "documents": [{"title": "a"}]}, "documents[0]"),
        ({"query": "q", "documents": ["a"], "top_n": -1}, "top_n"),
    ],
)
async def test_what_cannot_be_ranked_is_refused(door: Door, body: dict[str, Any], said: str):
    response = await door.post("/rerank", **body)
    assert response.status_code == 422
    assert said in response.json()["message"]


async def test_a_model_that_cannot_rank_says_so_in_the_words_of_both_dialects(door: Door):
    door.fail(TaskUnsupported("m"))
    response = await door.post("/v2/rerank", query="q", documents=["a"])
    assert response.status_code == 424
    assert response.json() == {
        "error": "m",
        "error_type": "Backend",
        "message": "m",
        "id": response.headers["x-request-id"],
    }
