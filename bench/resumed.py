"""Kills trainings on real data with SIGKILL, resumes them, and compares what comes of it with a training left alone.

Usage: python -m bench.resumed [--recipes NAME ...]

Each recipe is trained three times with one seed: twice left alone, once killed after its first checkpoint and resumed.
The revision of a model is the SHA-256 of all that it is: one revision means the same weights to the last bit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.labelled import READERS, Row, as_lines
from bench.model import prepare_model
from bench.progress import say
from bench.tables import table
from bench.trained import TRAIN_LIMIT_S, finish
from bench.worker import clean_variables
from headrace.models.store import LocalStore

# As ``headrace``, but for a checkpoint every 3 s instead of every minute: short trainings would have none.
_PROGRAM: Final = """
from headrace.cli.main import main
from headrace.training import run
run._INTERVAL_S = 3.0
main()
"""
_LOOK_S: Final = 0.05
_HEADER: Final = ("Recipe", "Examples", "Left alone twice", "Killed and resumed", "Figure", "Resumed", "Went on after")


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe, and real data for it.

    Attributes:
        data: Name of the data.
        rows: How many of them.
        options: For the command: enough steps that a checkpoint is written on the way.
        shape: Makes of a row what the recipe reads.
    """

    data: str
    rows: int
    options: Sequence[str] = ()
    shape: Callable[[Row], Row] = lambda row: row


def _value(row: Row) -> Row:
    """Return a text and a number that it tells: how long its words are on average."""
    words = row["text"].split()
    return {"text": row["text"], "value": round(sum(map(len, words)) / len(words), 3)}


CASES: Final[Mapping[str, Case]] = {
    "classify": Case("sentiment", 800, ("--epochs", "2")),
    "probe": Case("sentiment", 800, ("--epochs", "400", "--patience", "400")),
    "regress": Case("sentiment", 800, ("--epochs", "2"), _value),
    "extract": Case("entities", 800, ("--epochs", "2")),
    "embed": Case("questions", 150, ("--epochs", "2")),
    "rerank": Case("questions", 100, ("--epochs", "2")),
}


def main() -> int:
    """Train, kill, resume and compare; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.resumed", description="Kill trainings and resume them.")
    parser.add_argument("--recipes", nargs="+", choices=CASES, default=list(CASES))
    asked = parser.parse_args()
    checkpoint = prepare_model().checkpoint
    rows, differing = [], []
    for recipe in asked.recipes:
        with tempfile.TemporaryDirectory() as scratch:
            row, is_same = _compare(recipe, checkpoint, Path(scratch))
        rows.append(row)
        if not is_same:
            differing.append(recipe)
    print("\n".join(table(_HEADER, rows)))
    if differing:
        say(f"differing: {', '.join(differing)}")
    return int(bool(differing))


def _compare(recipe: str, checkpoint: Path, scratch: Path) -> tuple[list[str], bool]:
    case = CASES[recipe]
    chosen = [case.shape(row) for row in READERS[case.data]()[: case.rows]]
    data = scratch / f"{case.data}.jsonl"
    data.write_text(as_lines(chosen), encoding="utf-8")

    def command(home: str, *more: str) -> list[str]:
        words = [sys.executable, "-c", _PROGRAM, "train", recipe, "--data", str(data), "--base", str(checkpoint)]
        return [*words, "--name", "mill", "--home", str(scratch / home), *case.options, *more]

    for home in ("first", "second"):
        finish(command(home))
    _kill(command("killed"), scratch / "killed/training/mill/checkpoint.safetensors")
    resumed = finish(command("killed", "--resume"))
    went_on = next((line for line in resumed.stderr.splitlines() if "goes on after" in line), "nothing to go on with")
    revisions = [LocalStore(scratch / home / "models").find("mill").revision for home in ("first", "second", "killed")]
    figures = [_figure(scratch / home) for home in ("first", "killed")]
    say(f"{recipe}: {' '.join(revision[:12] for revision in revisions)}, {went_on.strip()}")
    same = [_say_same(other, revisions[0]) for other in revisions[1:]]
    row = [recipe, f"{len(chosen):,}", *same, *figures, went_on.rpartition("goes on after ")[2].strip()]
    return row, len(set(revisions)) == 1 and "goes on after" in went_on


def _kill(command: Sequence[str], checkpoint: Path) -> None:
    """Begin a training, and kill it as soon as it has a checkpoint."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=clean_variables(offline=False)) as process:
        limit = time.monotonic() + TRAIN_LIMIT_S
        while not checkpoint.exists():
            if process.poll() is not None or time.monotonic() > limit:
                process.kill()
                raise RuntimeError(f"{' '.join(command)} wrote no checkpoint before it ended; give it more to do")
            time.sleep(_LOOK_S)
        process.kill()


def _say_same(revision: str, wanted: str) -> str:
    return "same weights" if revision == wanted else "**other weights**"


def _figure(home: Path) -> str:
    report = json.loads((home / "training/mill/model/report.json").read_text(encoding="utf-8"))
    name, value = next(iter(report["metrics"].items()))
    return f"{name} {value:.6f}"


if __name__ == "__main__":
    sys.exit(main())
