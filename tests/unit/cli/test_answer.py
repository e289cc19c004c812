import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Finding, Span


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("a-minilm")
    make_model("reader", task="answer")
    span = Span(score=0.5, start=0, end=3, text="one")
    return serve("answer", Finding(answers=(span,), no_answer=0.25, tokens=4, truncated=False))


def test_each_line_is_asked_by_the_first_model_that_answers(run: Run, service: FakeService) -> None:
    result = run("answer", "--query", "who?", stdin="one\ntwo\n")
    assert result.exit_code == 0
    answers = [{"text": "one", "score": 0.5, "start": 0, "end": 3}]
    fields = {"answers": answers, "no_answer": 0.25, "tokens": 4, "truncated": False, "windows": 1}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": index, **fields} for index in range(2)
    ]
    (request,) = service.requests
    assert (request.task, request.query, request.inputs) == ("answer", "who?", ("one", "two"))
    assert request.options == Options(top_k=1)
    assert service.models == ["reader"]


def test_what_is_chosen_is_told_to_the_service(run: Run, service: FakeService) -> None:
    flags = ("--top-k", "3", "--threshold", "0.5", "--max-answer-tokens", "4", "--truncate", "chunk")
    assert run("answer", "--query", "who?", *flags, stdin="one\n").exit_code == 0
    chosen = Options(truncate="chunk", top_k=3, threshold=0.5, max_answer_tokens=4)
    assert service.requests[0].options == chosen


@pytest.mark.parametrize("flags", [("--top-k", "0"), ("--top-k", "101"), ("--max-answer-tokens", "0")])
def test_what_is_no_choice_is_refused(run: Run, service: FakeService, flags: tuple[str, str]) -> None:
    result = run("answer", "--query", "who?", *flags, stdin="one\n")
    assert (result.exit_code, service.requests) == (2, [])
    assert flags[0] in result.stderr


def test_without_a_question_nothing_is_done(run: Run, service: FakeService) -> None:
    result = run("answer", stdin="one\n")
    assert (result.exit_code, service.requests) == (2, [])
    assert "--query" in result.stderr
