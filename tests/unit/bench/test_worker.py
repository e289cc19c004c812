import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.worker import Worker, WorkerFailed, clean_variables, running_worker
from bench.workers import loop

PROGRAM = """
import sys, time
from bench.workers.loop import answer_commands
def fail(): raise ValueError("no such text")
def echo(**fields): print("noise from a library"); return fields
answer_commands({"echo": echo, "fail": fail, "sleep": lambda: time.sleep(60), "leave": lambda: sys.exit(3)})
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    python = tmp_path / "python"
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" "{tmp_path}/program.py"\n')
    python.chmod(0o755)
    with running_worker("echo", python, "unused") as running:
        yield running


def test_a_worker_answers_again_and_again_whatever_libraries_print(worker: Worker) -> None:
    assert worker.ask("echo", within_s=60, number=1) == {"number": 1}
    assert worker.ask("echo", within_s=60, text="two\nlines") == {"text": "two\nlines"}


def test_what_a_worker_raises_is_heard_and_it_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match=r"echo: ValueError: no such text; see logs/echo\.log"):
        worker.ask("fail", within_s=60)
    assert worker.ask("echo", within_s=60) == {}


def test_a_worker_that_takes_too_long_is_told(worker: Worker) -> None:
    worker.ask("echo", within_s=60)
    with pytest.raises(WorkerFailed, match="did not answer 'sleep' in time"):
        worker.ask("sleep", within_s=0.05)


def test_a_worker_that_died_is_told_with_its_code(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="ended with code 3"):
        worker.ask("leave", within_s=60)


def test_a_worker_is_ended_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with running_worker("generator", Path(sys.executable), "bench.generator") as running:
        assert running.process.poll() is None
    assert running.process.poll() is not None


def test_settings_of_this_shell_do_not_reach_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADRACE_ENGINE__THREADS", "OMP_NUM_THREADS", "PYTHONPATH", "BENTOML_HOME"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    kept = clean_variables()
    assert not kept.keys() & {"HEADRACE_ENGINE__THREADS", "OMP_NUM_THREADS", "PYTHONPATH", "BENTOML_HOME"}
    assert kept["LANG"] == "C.UTF-8"
    assert kept["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in clean_variables(offline=False).keys() - os.environ.keys()


def test_commands_are_answered_one_a_line_until_the_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = io.StringIO()
    monkeypatch.setattr(loop, "_take_stdout", lambda: answers)
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"command": "add", "a": 1, "b": 2}\n{"command": "none"}\n'))

    def add(a: int, b: int) -> dict[str, Any]:
        return {"sum": a + b}

    loop.answer_commands({"add": add})
    assert [json.loads(line) for line in answers.getvalue().splitlines()] == [
        {"sum": 3},
        {"error": "KeyError: 'none'"},
    ]
