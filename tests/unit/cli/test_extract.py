import json

import pytest
from tests.unit.cli.conftest import FakeService, MakeModel, Run, Serve

from headrace.options import Options
from headrace.types import Entity, Extraction


@pytest.fixture
def service(serve: Serve, make_model: MakeModel) -> FakeService:
    make_model("places", task="extract", labels=("O", "B-CITY"))
    entities = (Entity("CITY", 0.75, 0, 4, "Ulm\u0308"),)
    return serve("extract", Extraction(entities=entities, tokens=4, truncated=False))


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
