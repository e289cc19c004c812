import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.models.drafts import held_draft, remove_abandoned

HOLD = """
import sys
from pathlib import Path
from headrace.models.drafts import held_draft
with held_draft(Path(sys.argv[1])) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def make_old(path: Path, age_s: float = 300) -> Path:
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def test_a_draft_whose_process_was_killed_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        draft = make_old(Path(process.stdout.readline().strip()))
        (draft / "model.onnx").write_bytes(b"")
        make_old(draft)
        remove_abandoned(tmp_path)
        assert draft.exists()
        process.kill()
        process.wait()
        remove_abandoned(tmp_path)
        assert not draft.exists()


def test_a_draft_that_was_renamed_is_held_no_longer_than_its_context(tmp_path: Path):
    with held_draft(tmp_path) as draft:
        draft.rename(tmp_path / "published")
        remove_abandoned(tmp_path)
    assert (tmp_path / "published").is_dir()


def test_a_draft_that_is_just_being_made_is_left_alone(tmp_path: Path):
    (tmp_path / ".draft-new").mkdir()
    remove_abandoned(tmp_path)
    assert (tmp_path / ".draft-new").is_dir()


@pytest.mark.parametrize(("age_s", "is_left"), [(3600, True), (2 * 24 * 3600, False)])
def test_without_locks_its_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, is_left: bool):
    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with held_draft(tmp_path) as draft:
        make_old(draft, age_s)
    remove_abandoned(tmp_path)
    assert draft.exists() is is_left


def test_a_draft_that_another_process_removes_at_the_same_time_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    draft = tmp_path / ".draft-old"
    draft.mkdir()
    make_old(draft)
    found = list(tmp_path.glob("*"))
    shutil.rmtree(draft)
    monkeypatch.setattr(Path, "glob", lambda *_args: iter(found))
    remove_abandoned(tmp_path)
    assert not draft.exists()
