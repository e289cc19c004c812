"""A store with small made-up models, and a way to run the command line in this process."""

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from headrace.cli.main import app
from headrace.models.manifest import GateOutput, GateReport, Lineage, Manifest, Tensor, make_manifest
from headrace.models.store import LocalStore, StoredModel

Run = Callable[..., Result]
MakeModel = Callable[..., StoredModel]


@pytest.fixture(autouse=True)
def _restored_process() -> Iterator[None]:
    """Undo what a command sets for its process: it usually is the only one there."""
    handler = signal.getsignal(signal.SIGINT)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    signal.signal(signal.SIGINT, handler)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that every command of the test uses, in an empty current folder."""
    folder = tmp_path / "home"
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setenv("HEADRACE_STORE__HOME", str(folder))
    return folder


@pytest.fixture
def run() -> Run:
    def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, list(args), input=stdin, prog_name="headrace")

    return invoke


@pytest.fixture
def make_model(home: Path) -> MakeModel:
    """Put a model into the store; different ``content`` makes a different revision."""

    def make(name: str = "minilm", content: str = "graph", **fields: Any) -> StoredModel:
        store = LocalStore(home / "models")
        with store.draft() as draft:
            for file in ("model.onnx", "tokenizer.json", "card.md"):
                (draft / file).write_text(f"{content} {file}", encoding="utf-8")
            return store.publish(draft, lambda files: manifest(name=name, **files, **fields))

    return make


def manifest(**fields: Any) -> Manifest:
    given: dict[str, Any] = {
        "task": "embed",
        "dimensions": 4,
        "max_tokens": 256,
        "pooling": "mean",
        "normalize": True,
        "opset": 20,
        "inputs": (Tensor(name="input_ids", dtype="int64", shape=("batch", "length")),),
        "outputs": (Tensor(name="embedding", dtype="float32", shape=("batch", 4)),),
        "lineage": Lineage(
            source="pypi:made-up==1.0",
            source_revision=None,
            weights_sha256="0" * 64,
            architecture="BertModel",
            license="apache-2.0",
            created_at="2026-01-01T00:00:00Z",
            tools={},
        ),
        "gate": GateReport(
            passed=True,
            texts=48,
            min_cosine_required=0.9999,
            max_difference_allowed=0.001,
            outputs=(GateOutput(name="embedding", min_cosine=0.9999999, mean_cosine=1.0, max_difference=1e-6),),
            worst_text="emoji",
        ),
    }
    return make_manifest(**{**given, **fields})
