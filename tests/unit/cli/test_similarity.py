import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.unit.cli.conftest import MakeModel, Run

from headrace.settings import LoadedSettings
from headrace.types import Answer, Options, Request, Similarity, Timings


class FakeService:
    """Finds every text half as near as can be."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.models: Sequence[str] = ()

    async def run(self, request: Request) -> Answer:
        self.requests.append(request)
        results = tuple(Similarity(score=0.5, tokens=4, truncated=False) for _ in request.inputs)
        return Answer(
            model="m", revision="0" * 64, task="similarity", results=results, timings=Timings(), tokens=8, cached=0
        )


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, make_model: MakeModel) -> FakeService:
    make_model("a-tagger", task="extract", labels=("O", "B-X"))
    make_model("minilm")
    fake = FakeService()

    @asynccontextmanager
    async def open_service(_loaded: LoadedSettings, models: Sequence[str]) -> AsyncIterator[FakeService]:
        fake.models = models
        yield fake

    monkeypatch.setattr("headrace.app.open_service", open_service)
    return fake


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
