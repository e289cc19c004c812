import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Similarity


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("a-tagger", task="extract", labels=("O", "B-X"))
    make_model("minilm")
    return serve("similarity", Similarity(score=0.5, tokens=4, truncated=False))


def test_each_line_is_compared_with_the_query_by_the_first_model_that_embeds(run: Run, service: FakeService) -> None:
    result = run("similarity", "--query", "mills", "--truncate", "chunk", stdin="one\ntwo\n")
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": index, "score": 0.5, "tokens": 4, "truncated": False, "windows": 1} for index in range(2)
    ]
    (request,) = service.requests
    assert (request.task, request.query, request.inputs) == ("similarity", "mills", ("one", "two"))
    assert request.options == Options(truncate="chunk")
    assert service.models == ["minilm"]


def test_without_a_query_nothing_is_done(run: Run, service: FakeService) -> None:
    result = run("similarity", stdin="one\n")
    assert result.exit_code == 2
    assert "--query" in result.stderr
    assert service.requests == []
