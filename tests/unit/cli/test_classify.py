import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Classification, Label

LABELS = (Label("mill", 0.75), Label("river", 0.25))


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("a-minilm")
    make_model("mills", task="classify", labels=("mill", "river"), function="softmax")
    return serve("classify", Classification(labels=LABELS, tokens=4, truncated=False))


def test_each_line_becomes_a_line_of_labels_from_the_first_model_that_classifies(
    run: Run, service: FakeService
) -> None:
    result = run("classify", stdin="one\ntwo\n")
    assert result.exit_code == 0
    labels = [{"label": "mill", "score": 0.75}, {"label": "river", "score": 0.25}]
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": index, "labels": labels, "tokens": 4, "truncated": False, "windows": 1} for index in range(2)
    ]
    assert service.models == ["mills"]
    assert service.requests[0].task == "classify"
    assert run("embed", stdin="").exit_code == 0
    assert service.models == ["a-minilm"]


def test_what_is_chosen_about_the_labels_is_told_to_the_service(run: Run, service: FakeService) -> None:
    flags = ("--top-k", "2", "--threshold", "0.5", "--raw", "--truncate", "chunk")
    assert run("classify", *flags, stdin="one\n").exit_code == 0
    assert service.requests[0].options == Options(truncate="chunk", top_k=2, threshold=0.5, raw=True)


@pytest.mark.parametrize("flags", [("--top-k", "0"), ("--top-k", "many"), ("--threshold", "high")])
def test_what_is_no_choice_is_refused(run: Run, service: FakeService, flags: tuple[str, str]) -> None:
    result = run("classify", *flags, stdin="one\n")
    assert result.exit_code == 2
    assert flags[0] in result.stderr
    assert service.requests == []
