import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.unit.cli.conftest import MakeModel, Run

from headrace.settings import LoadedSettings
from headrace.types import Answer, Entity, Extraction, Options, Request, Timings


class FakeService:
    """Finds the same in every text."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def run(self, request: Request) -> Answer:
        self.requests.append(request)
        entities = (Entity("CITY", 0.75, 0, 4, "Ulm\u0308"),)
        results = tuple(Extraction(entities=entities, tokens=4, truncated=False) for _ in request.inputs)
        return Answer(
            model="m", revision="0" * 64, task="extract", results=results, timings=Timings(), tokens=4, cached=0
        )


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, make_model: MakeModel) -> FakeService:
    make_model("places", task="extract", labels=("O", "B-CITY"))
    fake = FakeService()

    @asynccontextmanager
    async def open_service(_loaded: LoadedSettings, _models: Sequence[str]) -> AsyncIterator[FakeService]:
        yield fake

    monkeypatch.setattr("headrace.app.open_service", open_service)
    return fake


def test_each_line_becomes_a_line_of_entities(run: Run, service: FakeService) -> None:
    flags = ("--aggregation", "first", "--threshold", "0.5", "--truncate", "chunk")
    result = run("extract", *flags, stdin="one\n")
    assert result.exit_code == 0
    entity = {"label": "CITY", "score": 0.75, "start": 0, "end": 4, "text": "Ulm\u0308"}
    assert json.loads(result.stdout) == {
        "index": 0,
        "entities": [entity],
        "tokens": 4,
        "truncated": False,
        "windows": 1,
    }
    (request,) = service.requests
    assert (request.task, request.inputs) == ("extract", ("one",))
    assert request.options == Options(truncate="chunk", aggregation="first", threshold=0.5)


@pytest.mark.parametrize("flags", [("--aggregation", "all"), ("--threshold", "high")])
def test_what_is_no_choice_is_refused(run: Run, service: FakeService, flags: tuple[str, str]) -> None:
    result = run("extract", *flags, stdin="one\n")
    assert result.exit_code == 2
    assert flags[0] in result.stderr
    assert service.requests == []
