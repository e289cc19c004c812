"""A training that is killed, and one that is asked to stop, in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from tests.unit.training.conftest import Watching, mill_rows, one_thread, take_one_thread, write_base, write_rows

from headrace.models.store import LocalStore
from headrace.training.data import DataFiles
from headrace.training.pipeline import TrainRequest, train_model

__all__ = ["one_thread"]

_LIMIT_S: Final = 120
NUMBERS: Final = {"epochs": 20, "rows": 4, "learning_rate": 1e-3, "precision": "fp32"}
# As ``headrace``, with a checkpoint after every step instead of every minute, and one thread: those of tests that run
# at the same time would wait for each other, spinning.
PROGRAM: Final = """
from headrace.cli.main import main
from headrace.machine import Machine
from headrace.training import pipeline, run
run._INTERVAL_S = run._INTERVAL_SAVES = 0
pipeline.read_machine = lambda: Machine(cpus=1.0, memory_bytes=1 << 30, cpu_model="any", cpu_flags=())
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "base").mkdir()
    write_base(folder / "base")
    write_rows(folder / "mills.jsonl", mill_rows())
    return folder


def start(folder: Path, home: Path) -> subprocess.Popen[str]:
    numbers = [part for name, value in NUMBERS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["train", "classify", "--data", str(folder / "mills.jsonl"), "--base", str(folder / "base")]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command, "--home", str(home), *numbers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + _LIMIT_S
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def train(folder: Path, home: Path, *, resume: bool | None) -> tuple[str, list[str]]:
    """Train in this process; returns the model's revision, and what was said."""
    watching = Watching()
    request = TrainRequest(
        recipe="classify",
        files=DataFiles(train=folder / "mills.jsonl", measure=None, columns={}),
        base=str(folder / "base"),
        name="mills",
        numbers=NUMBERS,
        resume=resume,
    )
    trained = train_model(request, LocalStore(home / "models"), watching)
    return trained.stored.manifest.revision, watching.said


@pytest.fixture(scope="module")
def whole_revision(folder: Path) -> str:
    """What comes of a training that is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        take_one_thread(patch)
        return train(folder, folder / "whole", resume=None)[0]


@pytest.mark.xdist_group("train")  # on one worker, so that the whole training is done once
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_training_ends_as_if_it_had_not_been(folder: Path, whole_revision: str, number: signal.Signals):
    home = folder / number.name
    process = start(folder, home)
    wait_for(home / "training/mills/checkpoint.safetensors", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), errors
    assert not LocalStore(home / "models").list_models()

    revision, said = train(folder, home, resume=True)
    assert any(line.startswith("goes on after step") for line in said)
    assert [each.name for each in (home / "training/mills").iterdir()] == ["model"]
    assert revision == whole_revision
