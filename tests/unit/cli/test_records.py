import json
from pathlib import Path
from typing import Any

import pytest

from headrace.records.sql import SqlRecords


def keys_of(run: Any, *arguments: str) -> list[dict[str, Any]]:
    result = run("keys", "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_copy_brought_back_has_the_same_keys_and_changes(run: Any, home: Path, tmp_path: Path):
    made = json.loads(run("keys", "create", "job", "--json").stdout)
    run("keys", "revoke", made["id"])
    file, other = tmp_path / "copy.sqlite3", tmp_path / "other"
    told = run("records", "backup", str(file))
    assert told.stdout.splitlines() == [f"backup  {file}", "keys    1"]
    assert file.stat().st_mode & 0o077 == 0  # as the records themselves
    assert sorted(tmp_path.glob(".copy*")) == []
    assert json.loads(run("records", "restore", str(file), "--home", str(other), "--json").stdout)["keys"] == 1
    assert keys_of(run, "--home", str(other)) == keys_of(run)
    run("keys", "create", "another", "--home", str(other))
    assert len(keys_of(run, "--home", str(other))) == 2


def test_what_is_there_is_not_written_over(run: Any, home: Path, tmp_path: Path):
    run("keys", "create", "job")
    file = tmp_path / "copy.sqlite3"
    file.write_text("mine")
    result = run("records", "backup", str(file))
    assert result.exit_code != 0
    assert "is not written over" in result.stderr
    assert file.read_text() == "mine"
    file.unlink()
    assert run("records", "backup", str(file)).exit_code == 0
    again = run("records", "restore", str(file))
    assert "hold something already" in again.stderr
    assert len(keys_of(run)) == 1


@pytest.mark.parametrize("content", [None, b"no database", b""])
def test_what_is_no_copy_is_told(run: Any, tmp_path: Path, content: bytes | None):
    file = tmp_path / "copy.sqlite3"
    if content is not None:
        file.write_bytes(content)
    result = run("records", "restore", str(file))
    if content == b"":  # an empty file is an empty database
        assert (result.exit_code, keys_of(run)) == (0, [])
        return
    assert result.exit_code != 0
    assert "copy.sqlite3" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_records_there_is_nothing_to_copy(run: Any, home: Path, tmp_path: Path):
    result = run("records", "backup", str(tmp_path / "copy.sqlite3"))
    assert "nothing to copy" in result.stderr
    assert not (home / "records.sqlite3").exists()


def test_a_copy_that_fails_leaves_nothing(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> int:
        raise KeyboardInterrupt

    run("keys", "create", "job")
    monkeypatch.setattr(SqlRecords, "copy_to", fail)
    folder = tmp_path / "copies"
    folder.mkdir()
    run("records", "backup", str(folder / "copy.sqlite3"))
    assert list(folder.iterdir()) == []
