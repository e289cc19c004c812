import json
import signal
from pathlib import Path

import pytest
from tests.unit.cli.conftest import MakeModel, Run

from headrace.errors import DependencyMissing, GateFailed
from headrace.export import importer
from headrace.export.importer import ImportRequest
from headrace.models.sources.base import Progress
from headrace.models.store import LocalStore, StoredModel


class FakeImporter:
    """Stores a made-up model after one step."""

    def __init__(self, make_model: MakeModel) -> None:
        self._make_model = make_model
        self.requests: list[ImportRequest] = []
        self.error: Exception | None = None

    def __call__(self, request: ImportRequest, store: LocalStore, progress: Progress) -> StoredModel:
        self.requests.append(request)
        with progress.step("Checking the files"):
            if self.error:
                raise self.error
            return self._make_model(request.name or "suggested")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, make_model: MakeModel) -> FakeImporter:
    made = FakeImporter(make_model)
    monkeypatch.setattr(importer, "import_model", made)
    return made


def test_an_import_ends_with_the_gate_and_the_next_command(run: Run, fake: FakeImporter) -> None:
    result = run("import", "org/name", "--name", "minilm")
    assert result.exit_code == 0
    assert "gate: passed on 55 texts" in result.stdout
    assert result.stdout.endswith("next: headrace serve minilm\n")
    assert "Checking the files" in result.stderr


def test_an_import_passes_on_what_it_was_asked(run: Run, fake: FakeImporter) -> None:
    run("import", "pypi:a==1", "--name", "a", "--sha256", "f" * 64)
    run("import", "org/name", "--revision", "main")
    assert fake.requests == [
        ImportRequest(source="pypi:a==1", name="a", sha256="f" * 64),
        ImportRequest(source="org/name", revision="main"),
    ]


def test_a_model_that_is_there_is_not_imported_again(run: Run, fake: FakeImporter, make_model: MakeModel) -> None:
    stored = make_model("a")
    result = run("import", stored.manifest.lineage.source, "--name", "a", "--if-missing")
    assert result.stdout == f"a {stored.manifest.revision[:12]} is in the store already\n"
    assert fake.requests == []
    run("import", "pypi:another==1", "--name", "a", "--if-missing")
    assert len(fake.requests) == 1


def test_an_import_as_json_is_the_manifest_and_nothing_else(run: Run, fake: FakeImporter) -> None:
    result = run("import", "org/name", "--json")
    stored = json.loads(result.stdout)
    assert (stored["name"], stored["current"], stored["gate"]["passed"]) == ("suggested", True, True)
    assert result.stderr == ""


@pytest.mark.parametrize(("error", "code"), [(GateFailed("it differs"), 3), (DependencyMissing("no torch"), 1)])
def test_a_failed_import_says_why(run: Run, fake: FakeImporter, error: GateFailed, code: int) -> None:
    fake.error = error
    result = run("import", "org/name", "--json")
    assert (result.exit_code, json.loads(result.stderr)["code"]) == (code, error.code)


def test_an_unforeseen_error_has_its_traceback_at_log_level_debug(run: Run, fake: FakeImporter) -> None:
    fake.error = ZeroDivisionError("x")
    assert run("import", "org/name").exit_code == 1
    assert "ZeroDivisionError: x" in run("import", "org/name", "--log-level", "debug").stderr


def test_sigterm_ends_an_import_as_ctrl_c_does_and_leaves_no_draft(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_request: ImportRequest, store: LocalStore, _progress: Progress) -> StoredModel:
        with store.draft() as draft:
            (draft / "model.onnx").write_bytes(b"")
            signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr(importer, "import_model", stopped)
    assert run("import", "org/name").exit_code == 143
    assert list((home / "models").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
