import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Filling, Mask, Word


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("a-classifier", task="classify", labels=("mill", "river"), function="softmax")
    make_model("words", task="fill", mask="[MASK]")
    return serve("fill", Filling(masks=(Mask(4, 10, (Word("mill", 0.75),)),), tokens=4, truncated=False))


def test_each_line_gets_words_by_the_first_model_that_finds_some(run: Run, service: FakeService) -> None:
    result = run("fill", stdin="the [MASK]\na [MASK]\n")
    assert result.exit_code == 0
    fields = {"masks": [{"start": 4, "end": 10, "words": [{"text": "mill", "score": 0.75}]}]}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": index, **fields, "tokens": 4, "truncated": False, "windows": 1} for index in range(2)
    ]
    (request,) = service.requests
    assert (request.task, request.inputs) == ("fill", ("the [MASK]", "a [MASK]"))
    assert request.options == Options(top_k=5)
    assert service.models == ["words"]


def test_what_is_chosen_is_told_to_the_service(run: Run, service: FakeService) -> None:
    assert run("fill", "--top-k", "3", "--threshold", "0.5", "--truncate", "chunk", stdin="one\n").exit_code == 0
    assert service.requests[0].options == Options(truncate="chunk", top_k=3, threshold=0.5)


@pytest.mark.parametrize("count", ["0", "65"])
def test_more_words_than_there_are_cannot_be_asked_for(run: Run, service: FakeService, count: str) -> None:
    assert run("fill", "--top-k", count, stdin="one\n").exit_code == 2


def test_the_model_says_what_a_mask_is(run: Run, service: FakeService) -> None:
    assert "[MASK]" in run("models", "show", "words").stdout
    assert json.loads(run("models", "show", "words", "--json").stdout)["mask"] == "[MASK]"
