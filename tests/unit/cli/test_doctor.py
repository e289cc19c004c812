import json
from collections.abc import Iterator

import pytest
from tests.unit.cli.conftest import Run

from headrace import diagnose
from headrace.diagnose import Finding
from headrace.settings import LoadedSettings

FINE = Finding("python", "ok", "3.11")
BAD = Finding("port", "error", "taken", "use another")
ODD = Finding("models", "warning", "none", "import one")


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    found: list[Finding] = []

    def fake(_loaded: LoadedSettings, *, verify: bool) -> Iterator[Finding]:
        yield from found
        yield Finding("files", "ok", f"verify={verify}")

    monkeypatch.setattr(diagnose, "diagnose", fake)
    return found


def test_findings_are_lines_and_each_problem_has_its_remedy(run: Run, find: list[Finding]) -> None:
    find[:] = [FINE, ODD]
    result = run("doctor")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok       python  3.11",
        "warning  models  none",
        "                 -> import one",
        "ok       files   verify=False",
    ]


def test_an_error_makes_exit_code_1(run: Run, find: list[Finding]) -> None:
    find[:] = [FINE, BAD]
    assert run("doctor").exit_code == 1


def test_findings_as_json(run: Run, find: list[Finding]) -> None:
    find[:] = [BAD]
    result = run("doctor", "--verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {"name": "port", "status": "error", "detail": "taken", "remedy": "use another"},
        {"name": "files", "status": "ok", "detail": "verify=True", "remedy": None},
    ]


def test_the_real_doctor_finds_no_error_here(run: Run) -> None:
    result = run("doctor", "--port", "0")
    assert result.exit_code == 0
    assert "loads a graph" in result.stdout
