"""A store with small made-up models, and a way to run the command line in this process."""

import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.manifests import describe_model, make_lineage
from typer.testing import CliRunner, Result

from headrace.cli.main import app
from headrace.models.manifest import Manifest
from headrace.models.store import LocalStore, StoredModel
from headrace.settings import LoadedSettings
from headrace.types import Answer, Request, TaskName, Timings
from headrace.types import Result as TaskResult

Run = Callable[..., Result]
Serve = Callable[..., "FakeService"]
MakeModel = Callable[..., StoredModel]


@pytest.fixture(autouse=True)
def _restored_process() -> Iterator[None]:
    """Undo what a command sets for its process: it usually is the only one there."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
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


class FakeService:
    """Answers every text with the same result."""

    def __init__(self, task: TaskName, result: TaskResult) -> None:
        self._task = task
        self._result = result
        self.requests: list[Request] = []
        self.models: Sequence[str] = ()

    async def run(self, request: Request) -> Answer:
        self.requests.append(request)
        results = (self._result,) * len(request.inputs)
        return Answer(
            model="m", revision="0" * 64, task=self._task, results=results, timings=Timings(), tokens=4, cached=0
        )


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Let commands that answer texts find a service that always gives the same."""

    def replace(task: TaskName, result: TaskResult) -> FakeService:
        fake = FakeService(task, result)

        @asynccontextmanager
        async def open_service(_loaded: LoadedSettings, models: Sequence[str]) -> AsyncIterator[FakeService]:
            fake.models = models
            yield fake

        monkeypatch.setattr("headrace.app.open_service", open_service)
        return fake

    return replace


@pytest.fixture
def make_model(home: Path) -> MakeModel:
    """Put a model into the store; different ``content`` makes a different revision."""

    def make(name: str = "minilm", content: str = "graph", **fields: Any) -> StoredModel:
        store = LocalStore(home / "models")
        with store.draft() as draft:
            for file in ("model.onnx", "reference.json", "tokenizer.json", "card.md"):
                (draft / file).write_text(f"{content} {file}", encoding="utf-8")
            return store.publish(draft, lambda files: manifest(name=name, **files, **fields))

    return make


def manifest(**fields: Any) -> Manifest:
    lineage = make_lineage(source="pypi:made-up==1.0", license="apache-2.0")
    return describe_model(**{"max_tokens": 256, "lineage": lineage, **fields})
