from pathlib import Path

import pytest
from bench.chaos.kills import Seen, engine_pid, promises


def add_process(proc: Path, pid: int, parent: int, command: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (python) S {parent} 1 1 0")
    (proc / str(pid) / "cmdline").write_bytes(command.replace(" ", "\0").encode())


def test_the_engine_is_found_among_the_children_of_the_server(tmp_path: Path) -> None:
    add_process(tmp_path, 10, 1, "python -m headrace serve")
    assert engine_pid(10, tmp_path) is None
    add_process(tmp_path, 11, 10, "python helper.py")
    add_process(tmp_path, 12, 10, "python -P -m headrace.engine_process folder")
    add_process(tmp_path, 13, 1, "python -P -m headrace.engine_process of-another-server")
    assert engine_pid(10, tmp_path) == 12


def test_a_process_that_ended_meanwhile_is_no_engine(tmp_path: Path) -> None:
    add_process(tmp_path, 10, 1, "python -m headrace serve")
    add_process(tmp_path, 12, 10, "python -P -m headrace.engine_process folder")
    (tmp_path / "12/cmdline").unlink()
    assert engine_pid(10, tmp_path) is None


@pytest.mark.parametrize(
    ("seen", "down_s", "kept"),
    [
        (Seen(answered=9), [0.5, 1.9], [True, True]),
        (Seen(answered=9, wrong=["status 503"]), [0.5], [False, True]),
        (Seen(answered=0), [0.5], [False, True]),
        (Seen(answered=9), [0.5, 2.1], [True, False]),
    ],
)
def test_a_failed_request_or_a_long_restart_breaks_a_promise(seen: Seen, down_s: list[float], kept: list[bool]) -> None:
    assert [promise.is_kept for promise in promises(seen, down_s)] == kept
