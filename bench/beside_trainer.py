"""Training beside transformers' Trainer, on the same data and from the same weights.

Classifiers: as it comes, for as many epochs. Taggers (``--data entities``): ours by the recipe's own numbers, theirs by
those of the example for token classification in transformers' repository.

Usage: python -m bench.beside_trainer [--epochs N] [--seeds N] [--data NAME]

Both take turns, seed by seed. The time is that of the training loop: tokenizing is not in it, and the measuring after
each epoch, which only Headrace does, is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.environments import environment
from bench.labelled import READERS, Row, write_fold
from bench.model import Model, prepare_model
from bench.places import ROOT
from bench.progress import say
from bench.stats import ratios, spread
from bench.tables import table as markdown
from bench.worker import clean_variables
from headrace.training import metrics
from headrace.training.tags import spans_of

_LIMIT_S: Final = 7200
_THEIR_EPOCHS: Final = 3  # the Trainer's default, which the example has too
OURS: Final = "Headrace"
THEIRS: Final = "transformers' Trainer, defaults"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is trained.

    Attributes:
        figure: What the recipe's report calls what is measured.
        worker: What trains it with the Trainer.
        measure: Returns the figure, given the rows that were asked about and what the worker found.
        epochs: Of both, unless somebody says otherwise; nothing if each side has its own.
    """

    recipe: str
    figure: str
    title: str
    worker: str
    measure: Callable[[Sequence[Row], Sequence[Any]], float]
    epochs: int | None


def _accuracy(rows: Sequence[Row], found: Sequence[Any]) -> float:
    return float(np.mean([row["label"] == label for row, label in zip(rows, found, strict=True)]))


def _span_f1(rows: Sequence[Row], found: Sequence[Any]) -> float:
    return metrics.span_f1([spans_of(row["tags"]) for row in rows], [spans_of(tags) for tags in found])


_CLASSIFIER: Final = Kind("classify", "accuracy", "Accuracy", "trainer_finetune", _accuracy, 1)
_TAGGER: Final = Kind("extract", "span_f1", "F1 of spans", "trainer_tagger", _span_f1, None)
_KINDS: Final = {"sentiment": _CLASSIFIER, "news": _CLASSIFIER, "spam": _CLASSIFIER, "entities": _TAGGER}


@dataclass(frozen=True, slots=True)
class Finetuned:
    """What one training gave."""

    train_s: float
    figure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What both are given."""

    kind: Kind
    train: Path
    asked: Path
    epochs: int | None


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_trainer", description="Train beside the Trainer.")
    parser.add_argument("--epochs", type=int, help="default: 1 for classifiers, each side's own for taggers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", choices=_KINDS, default="sentiment")
    asked = parser.parse_args()
    model = prepare_model()
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(asked.data, Path(folder), asked.epochs)
        runs: dict[str, list[Finetuned]] = {OURS: [], THEIRS: []}
        for seed in range(asked.seeds):
            for name, finetune in ((OURS, with_headrace), (THEIRS, with_trainer)):
                one = finetune(model, work, seed)
                runs[name].append(one)
                say(f"seed {seed}, {name}: {one.train_s:.1f} s, {work.kind.title} {one.figure:.4f}")
    print("\n".join(compare(work, runs)))
    return 0


def prepare(name: str, folder: Path, epochs: int | None) -> Work:
    """Write the data for both."""
    rows, kind = READERS[name](), _KINDS[name]
    data = write_fold(rows, folder)
    asked = folder / "asked.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in data.asked), encoding="utf-8")
    return Work(kind=kind, train=data.train, asked=asked, epochs=kind.epochs if epochs is None else epochs)


def with_headrace(model: Model, work: Work, seed: int) -> Finetuned:
    """Train by the one command."""
    command = [
        sys.executable,
        "-m",
        "headrace",
        "train",
        work.kind.recipe,
        "--data",
        str(work.train),
        "--eval",
        str(work.asked),
    ]
    numbers = ["--seed", str(seed), *(["--epochs", str(work.epochs)] if work.epochs else [])]
    place = ["--base", str(model.checkpoint), "--name", "bench-beside", "--home", str(model.home)]
    told = json.loads(_run([*command, *place, *numbers, "--no-resume", "--json"], ""))
    report = json.loads((Path(told["training"]["folder"]) / "report.json").read_text(encoding="utf-8"))
    last = report["measured"][-1]  # of the last epoch, not the best: theirs is not chosen either
    return Finetuned(report["elapsed_s"], last[work.kind.figure])


def with_trainer(model: Model, work: Work, seed: int) -> Finetuned:
    """Train by the Trainer, in an environment of its own."""
    told = {"checkpoint": str(model.checkpoint), "train": str(work.train), "asked": str(work.asked)}
    numbers = {"epochs": work.epochs or _THEIR_EPOCHS, "seed": seed, "window": model.window}
    command = [str(environment("trainer").python), "-m", f"bench.workers.{work.kind.worker}"]
    answer = json.loads(_run(command, json.dumps({**told, **numbers})))
    rows = [json.loads(line) for line in work.asked.read_text(encoding="utf-8").splitlines()]
    return Finetuned(answer["train_s"], work.kind.measure(rows, answer["found"]))


def compare(work: Work, runs: dict[str, list[Finetuned]]) -> Sequence[str]:
    """Return a table with the ratio within each seed."""
    rows = []
    for name, of_name in runs.items():
        times = [one.train_s for one in of_name]
        figures = (
            (spread(times), ",.0f"),
            (ratios([one.train_s for one in runs[THEIRS]], times), ".2f"),
            (spread([one.figure for one in of_name]), ".4f"),
        )
        rows.append([name, *(f"{each.median:{f}} ({each.low:{f}} to {each.high:{f}})" for each, f in figures)])
    return markdown(["Trained by", "Training, s", "Times as fast", work.kind.title], rows)


def _run(command: list[str], given: str) -> str:
    ended = subprocess.run(
        command,
        input=given,
        check=False,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        cwd=ROOT,
        env=clean_variables(offline=True),
    )
    if ended.returncode:
        raise RuntimeError(f"{command[-1]} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
