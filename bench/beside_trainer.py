"""Training speed beside transformers' Trainer as it comes, on the same data, from the same weights, for as many epochs.

Usage: python -m bench.beside_trainer [--epochs N] [--seeds N] [--data NAME]

Both take turns, seed by seed. The time is that of the training loop: tokenizing is not in it, and the measuring after
each epoch, which only Headrace does, is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.environments import environment
from bench.labelled import READERS, write_fold
from bench.model import Model, prepare_model
from bench.places import ROOT
from bench.progress import say
from bench.stats import ratios, spread
from bench.tables import table as markdown
from bench.worker import clean_variables

_LIMIT_S: Final = 7200
OURS: Final = "Headrace"
THEIRS: Final = "transformers' Trainer, defaults"


@dataclass(frozen=True, slots=True)
class Finetuned:
    """What one training gave."""

    train_s: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What both are given."""

    train: Path
    asked: Path
    rows: int
    epochs: int


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_trainer", description="Train beside the Trainer.")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", choices=("sentiment", "news", "spam"), default="sentiment")
    asked = parser.parse_args()
    model = prepare_model()
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(asked.data, Path(folder), asked.epochs)
        runs: dict[str, list[Finetuned]] = {OURS: [], THEIRS: []}
        for seed in range(asked.seeds):
            for name, finetune in ((OURS, with_headrace), (THEIRS, with_trainer)):
                runs[name].append(finetune(model, work, seed))
                say(f"seed {seed}, {name}: {runs[name][-1].train_s:.1f} s, accuracy {runs[name][-1].accuracy:.4f}")
    print("\n".join(compare(work, runs)))
    return 0


def prepare(name: str, folder: Path, epochs: int) -> Work:
    """Write the data for both."""
    rows = READERS[name]()
    data = write_fold(rows, folder)
    asked = folder / "asked.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in data.asked), encoding="utf-8")
    return Work(train=data.train, asked=asked, rows=len(rows) - len(data.asked), epochs=epochs)


def with_headrace(model: Model, work: Work, seed: int) -> Finetuned:
    """Train by the one command."""
    command = [
        sys.executable,
        "-m",
        "headrace",
        "train",
        "classify",
        "--data",
        str(work.train),
        "--eval",
        str(work.asked),
    ]
    numbers = ["--epochs", str(work.epochs), "--seed", str(seed)]
    place = ["--base", str(model.checkpoint), "--name", "bench-beside", "--home", str(model.home)]
    told = json.loads(_run([*command, *place, *numbers, "--no-resume", "--json"], ""))
    report = json.loads((Path(told["training"]["folder"]) / "report.json").read_text(encoding="utf-8"))
    return Finetuned(report["elapsed_s"], report["measured"][-1]["accuracy"])  # of the last epoch: nothing was chosen


def with_trainer(model: Model, work: Work, seed: int) -> Finetuned:
    """Train by the Trainer, in an environment of its own."""
    told = {"checkpoint": str(model.checkpoint), "train": str(work.train), "asked": str(work.asked)}
    numbers = {"epochs": work.epochs, "seed": seed, "window": model.window}
    command = [str(environment("trainer").python), "-m", "bench.workers.trainer_finetune"]
    return Finetuned(**json.loads(_run(command, json.dumps({**told, **numbers}))))


def compare(work: Work, runs: dict[str, list[Finetuned]]) -> Sequence[str]:
    """Return a table with the ratio within each seed."""
    rows = []
    for name, of_name in runs.items():
        times = [one.train_s for one in of_name]
        figures = (
            (spread([work.rows * work.epochs / time for time in times]), ",.0f"),
            (ratios([one.train_s for one in runs[THEIRS]], times), ".2f"),
            (spread([one.accuracy for one in of_name]), ".4f"),
        )
        rows.append([name, *(f"{each.median:{f}} ({each.low:{f}} to {each.high:{f}})" for each, f in figures)])
    return markdown(["Trained by", "Examples/s", "Times as fast", "Accuracy"], rows)


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
