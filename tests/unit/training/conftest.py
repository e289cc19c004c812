"""Data that a tiny model can learn, a base to start from, and somebody who watches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.support.headed import write_headed
from tests.unit.export.conftest import Silent, write_checkpoint

from headrace.machine import Machine
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training import pipeline
from headrace.training.outcome import Outcome
from headrace.training.watching import Advance

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with one thread."""
    take_one_thread(monkeypatch)


def take_one_thread(patch: pytest.MonkeyPatch) -> None:
    """Compute with one thread: threads of several tests that run at once would wait for each other, spinning."""
    torch.set_num_threads(1)
    machine = Machine(cpus=1.0, memory_bytes=1 << 30, cpu_model="any", cpu_flags=())
    patch.setattr(pipeline, "read_machine", lambda: machine)


def model_of(outcome: Outcome) -> transformers.PreTrainedModel:
    """Return the model that a recipe trained together with its encoder."""
    assert isinstance(outcome.model, transformers.PreTrainedModel)
    return outcome.model


class Watching(Silent):
    """Remembers what it heard, and asks to stop after some steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.heard: list[Advance] = []
        self.measurements: list[tuple[int, dict[str, float]]] = []
        self.is_stoppable = False
        self._stop_after = stop_after

    def say(self, line: str) -> None:
        self.said.append(line)

    def advanced(self, at: Advance) -> None:
        self.heard.append(at)

    def measured(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        self.measurements.append((step, dict(metrics)))

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        self.is_stoppable = True
        yield
        self.is_stoppable = False

    def stops(self) -> bool:
        return self._stop_after is not None and len(self.heard) >= self._stop_after


def write_base(folder: Path) -> Path:
    """Write a tiny model from which one can learn: with usual weights, smaller than those that show mistakes."""
    return write_checkpoint(folder, initializer_range=0.1)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base(base_folder: Path) -> Checkpoint:
    return read_checkpoint(base_folder)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def mill_rows(count: int = 60) -> list[dict[str, str]]:
    """Return texts that are wet if they have water in them, and dry if they have a wheel; of many lengths."""
    rows = []
    for number in range(count):
        word, label = ("water", "wet") if number % 2 else ("wheel", "dry")
        around = " ".join(LETTERS[(number + place) % 26] for place in range(number % 7))
        rows.append({"text": f"{around} {word} {number} {LETTERS[number % 26]}".strip(), "label": label})
    return rows


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a checkpoint that has a head."""
    folder = tmp_path_factory.mktemp("classifier")
    labels = {0: "a", 1: "b", 2: "c"}
    return read_checkpoint(write_headed(folder, transformers.BertForSequenceClassification, labels))
