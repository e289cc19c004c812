import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Classification, Label


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("a-classifier", task="classify", labels=("mill", "river"), function="softmax")
    make_model("nli", task="zeroshot", labels=("contradiction", "entailment"), function="softmax")
    return serve("zeroshot", Classification(labels=(Label("mill", 0.75),), tokens=4, truncated=False))


def test_each_line_is_read_with_the_labels_by_the_first_model_that_can(run: Run, service: FakeService) -> None:
    result = run("zeroshot", "--label", "mill", "--label", "river, or sea", stdin="one\ntwo\n")
    assert result.exit_code == 0
    fields = {"labels": [{"label": "mill", "score": 0.75}], "tokens": 4, "truncated": False, "windows": 1}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": index, **fields} for index in range(2)
    ]
    (request,) = service.requests
    assert (request.task, request.labels, request.inputs) == ("zeroshot", ("mill", "river, or sea"), ("one", "two"))
    assert request.options == Options()
    assert service.models == ["nli"]


def test_what_is_chosen_is_told_to_the_service(run: Run, service: FakeService) -> None:
    flags = ("--template", "About {}.", "--multi-label", "--top-k", "1", "--threshold", "0.5", "--truncate", "chunk")
    assert run("zeroshot", "--label", "a", *flags, stdin="one\n").exit_code == 0
    chosen = Options(truncate="chunk", template="About {}.", multi_label=True, top_k=1, threshold=0.5)
    assert service.requests[0].options == chosen


def test_so_many_lines_are_asked_at_once_that_they_fit_with_their_labels(run: Run, service: FakeService) -> None:
    labels = [part for name in "abc" for part in ("--label", name)]
    result = run("zeroshot", *labels, "--limits-max-inputs", "7", stdin="1\n2\n3\n4\n5\n")
    assert result.exit_code == 0
    assert [len(request.inputs) for request in service.requests] == [2, 2, 1]


def test_without_a_label_nothing_is_done(run: Run, service: FakeService) -> None:
    result = run("zeroshot", stdin="one\n")
    assert (result.exit_code, service.requests) == (2, [])
    assert "--label" in result.stderr
