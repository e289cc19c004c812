"""OpenAI's moderations, without a server; tests/clients asks with the client itself."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.doors import Door, open_door

from headrace.api.rest.moderations import ModerationList, find_harmless
from headrace.api.rest.openai import ErrorResponse
from headrace.options import Options
from headrace.types import Classification, Label

PATH = "/v1/moderations"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as door:
        yield door


def found(**scores: float) -> Classification:
    labels = tuple(Label(name, score) for name, score in sorted(scores.items(), key=lambda each: -each[1]))
    return Classification(tokens=3, truncated=False, labels=labels)


async def moderate(door: Door, **body: Any) -> ModerationList:
    response = await door.post(PATH, **body)
    assert response.status_code == 200, response.text
    answer = ModerationList.model_validate_json(response.content, strict=True)
    assert answer.id == response.headers["x-request-id"]
    return answer


async def refused(door: Door, **body: Any) -> dict[str, Any]:
    response = await door.post(PATH, **body)
    assert response.status_code == 400, response.text
    error = ErrorResponse.model_validate_json(response.content, strict=True).error.model_dump()
    assert (error["type"], error["code"]) == ("invalid_request_error", "request.invalid")
    return error


async def test_categories_are_the_labels_of_the_model(door: Door):
    door.answer(found(insult=0.75, threat=0.5, obscene=0.25), found(insult=0.1, threat=0.2, obscene=0.49))
    answer = await moderate(door, model="fake", input=["a", "b"])
    assert answer.model == "fake"
    first, second = answer.results
    assert (first.flagged, first.categories) == (True, {"insult": True, "threat": True, "obscene": False})
    assert first.category_scores == {"insult": 0.75, "threat": 0.5, "obscene": 0.25}
    assert first.category_applied_input_types == {"insult": ["text"], "threat": ["text"], "obscene": ["text"]}
    assert (second.flagged, any(second.categories.values())) == (False, False)
    (asked,) = door.asked
    assert (asked.task, asked.model, asked.inputs) == ("classify", "fake", ("a", "b"))
    assert asked.options == Options(truncate="chunk")


@pytest.mark.parametrize(
    ("labels", "harmless"),
    [
        (["spam", "ham"], {"ham"}),
        (["toxic", "non-toxic"], {"non-toxic"}),
        (["hate", "nothate"], {"nothate"}),
        (["SPAM", "NOT_SPAM"], {"NOT_SPAM"}),
        (["SAFE", "INJECTION"], {"SAFE"}),
        (["H", "OK", "V2"], {"OK"}),
        (["NEGATIVE", "POSITIVE"], set()),
        (["LABEL_0", "LABEL_1"], set()),
        (["Violent Crimes", "Non-Violent Crimes", "Hate"], set()),
        (["nonsense", "notable"], set()),
        ([], set()),
    ],
)
def test_harmless_is_what_its_name_says_to_be(labels: list[str], harmless: set[str]):
    assert find_harmless(labels) == harmless


@pytest.mark.parametrize(("scores", "flagged"), [({"spam": 0.9, "ham": 0.1}, True), ({"spam": 0.1, "ham": 0.9}, False)])
async def test_a_harmless_category_is_true_and_flags_nothing(door: Door, scores: dict[str, float], flagged: bool):
    door.answer(found(**scores))
    (result,) = (await moderate(door, input="a")).results
    assert (result.flagged, result.categories) == (flagged, {"spam": flagged, "ham": not flagged})


@pytest.mark.parametrize(
    ("harmless", "flagged"), [(None, True), (["POSITIVE"], False), (["NEGATIVE"], True), ([], True)]
)
async def test_the_caller_says_what_no_name_says(door: Door, harmless: list[str] | None, flagged: bool):
    door.answer(found(POSITIVE=0.9, NEGATIVE=0.1))
    (result,) = (await moderate(door, input="a", harmless=harmless)).results
    assert result.flagged is flagged


async def test_what_the_caller_says_counts_instead_of_the_names(door: Door):
    door.answer(found(ham=0.9, spam=0.1))
    (result,) = (await moderate(door, input="a", harmless=["spam"])).results
    assert result.flagged


async def test_a_label_that_is_not_there_is_no_harmless_one(door: Door):
    door.answer(found(ham=0.9, spam=0.1))
    error = await refused(door, input="a", harmless=["ham", "Spam"])
    assert error["param"] == "harmless[1]"
    assert "'Spam'" in error["message"]
    assert "ham, spam" in error["message"]


async def test_the_parts_of_an_input_are_one_text(door: Door):
    door.answer(found(spam=0.9))
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "more": 1}]
    assert len((await moderate(door, input=parts)).results) == 1
    assert door.asked[0].inputs == ("a\nb",)


IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"type": "text", "text": "a"}, IMAGE], "part 1 is of type 'image_url'; only texts are read"),
        ([IMAGE], "part 0 is of type 'image_url'"),
        ([{"type": "text"}], "part 0 is no text"),
        ([{"type": "text", "text": 1}], "part 0 is no text"),
        ([{"type": ["text"], "text": "a"}], "part 0 is no text"),
        ([{"type": "text", "text": "a"}, "b"], "part 1 is no text"),
        ([{}], "part 0 is no text"),
        ({"type": "text", "text": "a"}, "list"),
        (None, "list"),
    ],
)
async def test_what_is_no_text_is_refused(door: Door, given: Any, said: str):
    error = await refused(door, input=given)
    assert error["param"] == "input"
    assert said in error["message"]


@pytest.mark.parametrize("given", [["a", {"type": "text", "text": "b"}], ["a", 1], ["a", None], ["a", ["b"]]])
async def test_what_is_no_text_among_texts_is_named(door: Door, given: list[Any]):
    assert (await refused(door, input=given))["param"] == "input[1]"


@pytest.mark.parametrize("body", [{"harmless": "ham"}, {"harmless": [1]}, {"truncate": "no"}, {"model": 1}])
async def test_what_is_chosen_must_be_there_to_choose(door: Door, body: dict[str, Any]):
    assert (await refused(door, input="a", **body))["param"].startswith(next(iter(body)))


async def test_a_model_that_does_not_classify_says_so(door: Door):
    error = ErrorResponse.model_validate_json((await door.post(PATH, input="a")).content).error
    assert (error.code, "'embed'" in error.message) == ("task.unsupported", True)
