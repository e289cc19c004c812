"""The tasks of Hugging Face's inference API, without a server; tests/clients asks with its client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.doors import Door, open_door

from headrace.errors import InputTooLong, QueueFull
from headrace.options import Options
from headrace.types import (
    Classification,
    Entity,
    Extraction,
    Finding,
    Label,
    ModelTask,
    Ranking,
    Request,
    Result,
    Similarity,
    Span,
)

LABELS = Classification(tokens=3, truncated=False, labels=(Label("good", 0.75), Label("bad", 0.25)))
SHOWN = [{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]
ENTITY = Extraction(tokens=3, truncated=False, entities=(Entity("PER", 0.5, 2, 5, "Ann"),))
FOUND = {"score": 0.5, "word": "Ann", "start": 2, "end": 5}
ANSWERS = Finding(tokens=9, truncated=False, answers=(Span(0.5, 2, 5, "Ann"),), no_answer=0.25)
ANSWER = {"answer": "Ann", "score": 0.5, "start": 2, "end": 5}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


async def ask(door: Door, task: ModelTask, results: tuple[Result, ...], **body: Any) -> tuple[Any, Request]:
    door.it.service.task_of = lambda *_: task  # type: ignore[method-assign]
    door.answer(*results)
    response = await door.post("/models/fake", **body)
    assert response.status_code == 200, response.text
    (asked,) = door.asked
    assert asked.model == "fake"
    return response.json(), asked


@pytest.mark.parametrize(("inputs", "shown"), [("a", [SHOWN]), (["a"], [SHOWN]), (["a", "b"], [SHOWN, SHOWN])])
async def test_labels_are_in_a_list_of_lists(door: Door, inputs: Any, shown: Any):
    answer, asked = await ask(door, "classify", (LABELS,) * len(shown), inputs=inputs, parameters={"top_k": 2})
    assert answer == shown
    assert (asked.inputs, asked.options) == (("a", "b")[: len(shown)], Options(top_k=2))


async def test_scores_may_be_raw(door: Door):
    _, asked = await ask(door, "classify", (LABELS,), inputs="a", parameters={"function_to_apply": "none"})
    assert asked.options.raw


@pytest.mark.parametrize(
    ("parameters", "name", "aggregation"),
    [({}, "entity_group", "simple"), ({"aggregation_strategy": "none", "stride": 3}, "entity", "none")],
)
async def test_entities_are_called_as_their_aggregation_has_it(
    door: Door, parameters: dict[str, Any], name: str, aggregation: str
):
    answer, asked = await ask(door, "extract", (ENTITY,), inputs="a", parameters=parameters)
    assert answer == [{name: "PER", **FOUND}]
    assert asked.options.aggregation == aggregation


async def test_many_texts_get_a_list_for_each(door: Door):
    answer, _ = await ask(door, "extract", (ENTITY, ENTITY), inputs=["a", "b"])
    assert answer == [[{"entity_group": "PER", **FOUND}]] * 2


@pytest.mark.parametrize("labels", [["good", "bad"], "good, bad"])
async def test_labels_that_are_chosen_now(door: Door, labels: Any):
    chosen = {"candidate_labels": labels, "multi_label": True, "hypothesis_template": "It is {}."}
    answer, asked = await ask(door, "zeroshot", (LABELS,), inputs="a", parameters=chosen)
    assert answer == SHOWN
    assert asked.labels == ("good", "bad")
    assert asked.options == Options(template="It is {}.", multi_label=True)


@pytest.mark.parametrize(
    ("parameters", "shown", "top_k"), [({}, ANSWER, 1), ({"top_k": None}, ANSWER, 1), ({"top_k": 3}, [ANSWER], 3)]
)
async def test_a_question_gets_an_answer_or_as_many_as_asked_for(
    door: Door, parameters: dict[str, Any], shown: Any, top_k: int
):
    inputs = {"question": "q", "context": "c"}
    answer, asked = await ask(door, "answer", (ANSWERS,), inputs=inputs, parameters=parameters)
    assert answer == shown
    assert (asked.query, asked.inputs, asked.options.top_k) == ("q", ("c",), top_k)


async def test_no_answer_is_an_empty_one(door: Door):
    nothing = Finding(tokens=9, truncated=False, answers=(), no_answer=0.75)
    answer, _ = await ask(door, "answer", (nothing,), inputs={"question": "q", "context": "c"})
    assert answer == {"answer": "", "score": 0.75, "start": 0, "end": 0}


async def test_a_model_that_embeds_is_asked_for_vectors_and_for_similarities(door: Door):
    native = (await door.post("/api/v1/embed", inputs=["a"])).json()["results"][0]["embedding"]
    assert (await door.post("/models/fake", inputs="a")).json() == [native]
    similar = (Similarity(tokens=3, truncated=False, score=0.5),)
    inputs = {"source_sentence": "q", "sentences": ["a"]}
    answer, asked = await ask(door, "embed", similar, inputs=inputs, parameters={})
    assert answer == [0.5]
    assert asked.task == "similarity"


async def test_a_model_that_ranks_is_asked_as_by_a_client_of_rankings(door: Door):
    answer, _ = await ask(
        door, "rerank", (Ranking(tokens=3, truncated=False, index=0, score=0.5),), query="q", texts=["a"]
    )
    assert answer == [{"index": 0, "score": 0.5}]


@pytest.mark.parametrize(
    ("task", "body", "said"),
    [
        ("classify", {"inputs": 5}, "inputs"),
        ("classify", {"inputs": ["a", 5]}, "inputs[1]"),
        ("classify", {"inputs": "a", "parameters": {"function_to_apply": "softmax"}}, "function_to_apply"),
        ("classify", {"inputs": "a", "parameters": {"top_k": 0}}, "top_k"),
        ("extract", {"inputs": "a", "parameters": {"aggregation_strategy": "most"}}, "aggregation_strategy"),
        ("zeroshot", {"inputs": "a"}, "parameters"),
        ("zeroshot", {"inputs": "a", "parameters": {"candidate_labels": [1]}}, "candidate_labels[0]"),
        ("answer", {"inputs": "a"}, "inputs"),
        ("answer", {"inputs": {"question": "q"}}, "inputs.context"),
    ],
)
async def test_what_the_model_cannot_read_is_refused(door: Door, task: ModelTask, body: dict[str, Any], said: str):
    door.it.service.task_of = lambda *_: task  # type: ignore[method-assign]
    response = await door.post("/models/fake", **body)
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")
    assert response.json()["error"].startswith(("inputs", "parameters"))
    assert said in response.json()["error"]


@pytest.mark.parametrize("task", ["fill", "regress"])
async def test_a_task_without_a_word_says_where_it_can_be_asked(door: Door, task: ModelTask):
    door.it.service.task_of = lambda *_: task  # type: ignore[method-assign]
    response = await door.post("/models/fake", inputs="a")
    assert response.status_code == 424
    assert f"/api/v1/{task}" in response.json()["error"]


async def test_a_model_that_is_not_there_is_not_found(door: Door):
    response = await door.post("/models/nothing", inputs="a")
    assert response.status_code == 404
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(("error", "status"), [(InputTooLong("m"), 422), (QueueFull("m"), 429)])
async def test_errors_are_strings(door: Door, error: Exception, status: int):
    door.fail(error)
    response = await door.post("/models/fake", inputs="a")
    assert (response.status_code, response.json()["error"]) == (status, "m")
