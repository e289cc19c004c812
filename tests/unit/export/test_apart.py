"""Conversion in a process that is thrown away."""

import json
import os
import resource
import socket
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.server import wait_until
from tests.unit.export.conftest import Silent, write_checkpoint

from headrace.errors import SourceInvalid, SourceMissing, SourceUnsafe, SourceUnsupported, StoreUnusable, error_classes
from headrace.export import apart
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.models.store import LocalStore

CONFINED: Final = """
import json, sys
from headrace.export.workshop import leave_network, limit
leave_network()
limit({"memory_bytes": 400 << 20, "file_bytes": 1 << 20, "processor_s": 100})
"""


class Hearing:
    """Writes down the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> AbstractContextManager[None]:
        self.steps.append(text)
        return nullcontext()

    def transferred(self, done_bytes: int, total_bytes: int | None) -> None:
        """Nothing is downloaded here."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint")


def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home/models")


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let another program answer the order."""
    monkeypatch.setattr(apart, "_COMMAND", (sys.executable, "-c", program))


def test_a_model_that_is_converted_apart_is_the_same(tmp_path: Path, checkpoint: Path):
    request, there, here = ImportRequest(source=str(checkpoint), name="tiny"), Hearing(), Hearing()
    stored = import_model(request, store(tmp_path), there)
    expected = import_model(request, LocalStore(tmp_path / "other/models"), here, convert_here)
    assert stored.revision == expected.revision
    assert stored.manifest.gate == expected.manifest.gate
    assert there.steps == here.steps
    assert len(there.steps) == 5


def test_what_the_process_refuses_is_refused_by_name(tmp_path: Path, checkpoint: Path):
    (checkpoint / "config.json").write_text('{"model_type": "mill"}')
    with pytest.raises(SourceUnsupported, match="mill") as caught:
        import_model(ImportRequest(source=str(checkpoint)), store(tmp_path), Silent())
    assert caught.value.field == "model_type"
    assert store(tmp_path).list_models() == []


def test_an_error_arrives_with_its_message_and_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path):
    line = json.dumps({"about": "refused", "code": "source.unsafe", "message": "no", "field": "x"})
    stand_in(monkeypatch, f"print({line!r})")
    with pytest.raises(SourceUnsafe) as caught:
        import_model(ImportRequest(source=str(checkpoint)), store(tmp_path), Silent())
    assert (caught.value.message, caught.value.field) == ("no", "x")


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.code)
def test_a_code_becomes_its_class_again(kind: Any):
    found = apart._error({"code": kind.code, "message": "no", "field": None})
    assert (type(found), found.message, found.field) == (kind, "no", None)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os.abort()", "SIGABRT"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("", "exit code 0"),
    ],
)
def test_a_process_that_dies_is_the_sources_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path, program: str, told: str
):
    stand_in(monkeypatch, program)
    with pytest.raises(SourceInvalid, match=told):
        import_model(ImportRequest(source=str(checkpoint)), store(tmp_path), Silent())
    assert list((tmp_path / "home/models").iterdir()) == []


def test_an_error_that_nobody_foresaw_comes_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
):
    stand_in(monkeypatch, """print('{"about": "failed", "text": "ZeroDivisionError: x"}')""")
    with pytest.raises(RuntimeError, match="ZeroDivisionError: x"):
        import_model(ImportRequest(source=str(checkpoint)), store(tmp_path), Silent())


def test_a_full_disk_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path):
    line = json.dumps({"about": "system", "number": 28, "text": "No space left on device", "file": "x"})
    stand_in(monkeypatch, f"print({line!r})")
    with pytest.raises(StoreUnusable, match="No space left"):
        import_model(ImportRequest(source=str(checkpoint)), store(tmp_path), Silent())


def test_the_process_ends_when_there_is_nothing_to_convert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    note = tmp_path / "pid"
    stand_in(monkeypatch, f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with apart.converting_apart():
        wait_until(lambda: note.exists() and note.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_nothing_is_left_behind_when_the_source_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    stand_in(monkeypatch, "import time; time.sleep(600)")
    with pytest.raises(SourceMissing):
        import_model(ImportRequest(source=str(tmp_path / "nothing")), store(tmp_path), Silent())


def confined(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CONFINED + program], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def test_it_gets_no_more_memory_than_it_may_have():
    assert "MemoryError" in confined("x = bytearray(800 << 20)")
    assert confined("x = bytearray(50 << 20); print(len(x))") == f"{50 << 20}\n"


def test_it_writes_no_larger_files_than_it_may(tmp_path: Path):
    said = confined(f"open({str(tmp_path / 'file')!r}, 'wb').write(bytes(5 << 20))")
    assert "File too large" in said or said == ""  # or the signal ended it
    assert (tmp_path / "file").stat().st_size <= 1 << 20


def test_its_limits_cannot_be_raised_again():
    said = confined("import resource; print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(4))")
    assert said == f"(100, 100) {(0, 0)}\n"
    assert resource.RLIMIT_CORE == 4


def test_it_has_no_network_where_the_kernel_lets_a_user_have_none():
    before = str(Path("/proc/self/ns/net").readlink())
    if confined("import os; print(os.readlink('/proc/self/ns/net'))").strip() == before:
        pytest.skip("the kernel lets this user have no network of its own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = confined(f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)")
    assert "unreachable" in said or "refused" in said
