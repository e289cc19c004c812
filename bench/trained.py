"""Fine-tunes real models, one command each, and asks them over HTTP about what they did not learn from.

Usage: python -m bench.trained [--tasks NAME ...]

The figure is that of the product: trained, exported, gated, and served in the precision that was measured to be the
fastest here.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from bench.labelled import READERS, Labelled, Row, write_fold
from bench.model import NAME as BASE
from bench.model import prepare_model
from bench.progress import say
from bench.tables import table as markdown
from bench.worker import clean_variables
from headrace.training import metrics
from headrace.training.tags import character_spans

TRAIN_LIMIT_S: Final = 3600
_START_LIMIT_S: Final = 120
_ASK_LIMIT_S: Final = 60
_PER_REQUEST: Final = 32

Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
"""Given a task and a body, gives the results of all inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is trained, and how it is measured.

    Attributes:
        data: Name of what is learned from.
        recipe: Of ``headrace train``.
        options: For it.
        measure: Returns the figure, given a way to ask the served model, and the rows that it did not learn from.
        folds: In how many parts the data are cut; each is asked about once if ``is_crossed``, else the first one only.
        least: What the figure must be.
        has_base: Whether the model that it starts from does the same task, and is asked too.
    """

    data: str
    recipe: str
    figure: str
    measure: Callable[[Ask, Labelled, Sequence[Row]], float]
    options: Sequence[str] = ()
    folds: int = 5
    is_crossed: bool = False
    least: float = 0.0
    has_base: bool = False


def accuracy(ask: Ask, data: Labelled, _rows: Sequence[Row]) -> float:
    """Return the share of texts whose best label is right."""
    found = ask("classify", {"inputs": [row["text"] for row in data.asked], "options": {"top_k": 1}})
    right = [one["labels"][0]["label"] == row["label"] for one, row in zip(found, data.asked, strict=True)]
    return float(np.mean(right))


def span_f1(ask: Ask, data: Labelled, _rows: Sequence[Row]) -> float:
    """Return F1 of entities; one is right if its characters and its label are."""
    texts = [" ".join(row["tokens"]) for row in data.asked]
    found = ask("extract", {"inputs": texts, "options": {"aggregation": "first"}})
    said = [{(one["start"], one["end"], one["label"]) for one in result["entities"]} for result in found]
    return metrics.span_f1([character_spans(row["tokens"], row["tags"]) for row in data.asked], said)


def recall_of_embeddings(ask: Ask, data: Labelled, rows: Sequence[Row]) -> float:
    """Return the share of questions whose answer is the nearest of all."""
    answers = list(dict.fromkeys(row["passage"] for row in rows))
    known = np.asarray([one["embedding"] for one in ask("embed", {"inputs": answers})])
    asked = np.asarray([one["embedding"] for one in ask("embed", {"inputs": [row["query"] for row in data.asked]})])
    wanted = np.asarray([answers.index(row["passage"]) for row in data.asked])
    return metrics.recall_at(metrics.ranks_of((asked @ known.T).astype(np.float32), wanted), 1)


TASKS: Final[Mapping[str, Task]] = {
    "sentiment": Task(data="sentiment", recipe="classify", figure="accuracy", measure=accuracy, least=0.79),
    "probe": Task(data="sentiment", recipe="probe", figure="accuracy", measure=accuracy),
    "news": Task(data="news", recipe="classify", figure="accuracy", measure=accuracy, least=0.96),
    "spam": Task(
        data="spam",
        recipe="classify",
        figure="accuracy",
        measure=accuracy,
        options=("--max-tokens", "128"),
        least=0.97,
    ),
    "entities": Task(data="entities", recipe="extract", figure="span F1", measure=span_f1),
    "questions": Task(
        data="questions",
        recipe="embed",
        figure="recall@1",
        measure=recall_of_embeddings,
        is_crossed=True,
        least=0.557,
        has_base=True,
    ),
}


_HEADER: Final = (
    *("Task", "Recipe", "Learned from", "Asked about", "Figure", "Before", "Over HTTP", "Training", "Command"),
)


@dataclass(slots=True)
class Figures:
    """What was measured of a task, a value for each fold."""

    learned: int = 0
    asked: int = 0
    before: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    trained_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)


def main() -> int:
    """Train and measure; returns 1 if a figure is less than it must be."""
    parser = argparse.ArgumentParser(prog="python -m bench.trained", description="Fine-tune real models and ask them.")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    asked = parser.parse_args()
    home = prepare_model().home
    rows, lost = [], []
    for name in asked.tasks:
        with tempfile.TemporaryDirectory() as folder:
            figures = run_task(name, home, Path(folder))
        rows.append(_row(name, figures))
        if float(np.mean(figures.values)) < TASKS[name].least:
            lost.append(name)
    print("\n".join(markdown(_HEADER, rows)))
    if lost:
        say(f"less than it must be: {', '.join(lost)}")
    return int(bool(lost))


def run_task(name: str, home: Path, folder: Path) -> Figures:
    """Train a model for each fold that is asked about, serve it, and measure."""
    task, found = TASKS[name], Figures()
    rows = READERS[task.data]()
    for fold in range(task.folds if task.is_crossed else 1):
        data = write_fold(rows, folder, fold, task.folds)
        if task.has_base:
            with served(home, BASE) as ask:
                found.before.append(task.measure(ask, data, rows))
        begun = time.monotonic()
        told = train(home, f"bench-{name}", task, data)
        found.took_s.append(time.monotonic() - begun)
        found.trained_s.append(told["training"]["elapsed_s"])
        found.learned = len(rows) - len(data.asked)
        found.asked += len(data.asked)
        with served(home, f"bench-{name}") as ask:
            found.values.append(task.measure(ask, data, rows))
        say(f"{name}, fold {fold + 1}: {task.figure} {found.values[-1]:.4f}, {found.took_s[-1]:.0f} s")
    return found


def _row(name: str, figures: Figures) -> list[str]:
    task = TASKS[name]
    values = [_mean(each) for each in (figures.before, figures.values)]
    times = [f"{np.mean(seconds):,.0f} s" for seconds in (figures.trained_s, figures.took_s)]
    return [name, task.recipe, f"{figures.learned:,}", f"{figures.asked:,}", task.figure, *values, *times]


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:  # noqa: PLR2004 - one has no range
        return "".join(f"{value:.4f}" for value in values)
    return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def train(home: Path, model: str, task: Task, data: Labelled) -> dict[str, Any]:
    """Run the one command, and return what it says."""
    command = [sys.executable, "-m", "headrace", "train", task.recipe, "--data", str(data.train), "--base", BASE]
    ended = finish([*command, "--name", model, "--no-resume", "--home", str(home), "--json", *task.options])
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def finish(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a training to its end.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    variables = clean_variables(offline=False)
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=variables, timeout=TRAIN_LIMIT_S)
    if ended.returncode:
        raise RuntimeError(f"headrace train ended with {ended.returncode}: {ended.stderr.strip()}")
    return ended


@contextlib.contextmanager
def served(home: Path, model: str) -> Iterator[Ask]:
    """Serve a model, and give a way to ask it."""
    with serving(home, model) as address, httpx.Client(base_url=address, timeout=_ASK_LIMIT_S) as client:
        yield lambda task, body: _ask(client, task, body)


@contextlib.contextmanager
def serving(home: Path, model: str) -> Iterator[str]:
    """Serve a model as it comes, and give the address of its native API."""
    command = [sys.executable, "-m", "headrace", "serve", model, "--port", "0", "--home", str(home)]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_variables(offline=True)) as server:
        try:
            yield _find_address(server)
        finally:
            server.terminate()
            server.wait(_START_LIMIT_S)


def _find_address(server: "subprocess.Popen[str]") -> str:
    for line in server.stdout or ():
        if line.startswith("api "):
            return line.split()[1]
    raise RuntimeError("the server ended before it listened")


def _ask(client: httpx.Client, task: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for begin in range(0, len(body["inputs"]), _PER_REQUEST):
        answer = client.post(f"/{task}", json={**body, "inputs": body["inputs"][begin : begin + _PER_REQUEST]})
        answer.raise_for_status()
        results += answer.json()["results"]
    return results


if __name__ == "__main__":
    sys.exit(main())
