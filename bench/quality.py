"""What a precision costs where it counts: the metrics of tasks, on real texts with known answers.

Usage: python -m bench.quality

A cosine says how near a vector is to the original's; this says whether anything is found or told apart worse. Whoever
serves in a precision computes everything in it, so texts that are searched, those that are asked for, and those that a
classifier is fitted to all have the vectors of that precision.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tests.support.real import faq, labelled_news, labelled_reviews

from bench.accuracy import Vectors
from bench.model import NAME, prepare_model
from bench.progress import say
from bench.tables import table as markdown
from bench.workers.headrace_service import embed
from headrace.app import open_service
from headrace.settings import load_settings

MOST_LOST: Final = 0.005  # of the metric in fp32
_RUNTIMES: Final = {"fp32": "onnxruntime", "bf16": "native", "int8": "native"}
_REVIEWS: Final = 6000
_NEWS: Final = 1000
_SEED: Final = 20261125
_FOLDS: Final = 5
_RIDGE: Final = 1.0  # to vectors of length 1
_PER_REQUEST: Final = 32
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Search:
    """Questions, and the one answer to each among those of all."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them, the questions first."""
        return self.questions + self.answers

    def hits(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Return for each question whether its answer is the nearest."""
        asked, known = np.split(vectors, [len(self.questions)])
        return np.asarray((asked @ known.T).argmax(axis=1) == np.arange(len(asked)))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts with labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def hits(self, vectors: Vectors) -> NDArray[np.bool_]:
        """Return for each text whether a linear classifier that was fitted to the texts of other folds is right."""
        names = sorted(set(self.labels))
        truth = np.array([names.index(label) for label in self.labels])
        rows = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)]).astype(np.float64)
        fold = np.arange(len(rows)) % _FOLDS  # the texts are shuffled
        found = np.empty_like(truth)
        for number in range(_FOLDS):
            known, wanted = rows[fold != number], np.eye(len(names))[truth[fold != number]]
            weights = np.linalg.solve(known.T @ known + _RIDGE * np.eye(known.shape[1]), known.T @ wanted)
            found[fold == number] = (rows[fold == number] @ weights).argmax(axis=1)
        return np.asarray(found == truth)


Measured = Search | Labelled


def main() -> int:
    """Measure every precision; returns 1 if one loses more than it may."""
    argparse.ArgumentParser(prog="python -m bench.quality", description="Measure what a precision costs.").parse_args()
    home = prepare_model().home
    tasks = _read_tasks()
    hits: dict[str, dict[str, NDArray[np.bool_]]] = {name: {} for name in tasks}
    for precision in _RUNTIMES:
        say(f"{precision}: {sum(len(task.texts) for task in tasks.values())} texts")
        for name, vectors in asyncio.run(_embed_all(home, precision, tasks)).items():
            hits[name][precision] = tasks[name].hits(vectors)
    print("\n".join(table(hits)))
    return int(any(is_lost(of_task, precision) for of_task in hits.values() for precision in _RUNTIMES))


def is_lost(hits: Mapping[str, NDArray[np.bool_]], precision: str) -> bool:
    """Whether a precision is right too seldom beside fp32."""
    return bool(hits[precision].mean() < (1 - MOST_LOST) * hits["fp32"].mean())


def table(hits: Mapping[str, Mapping[str, NDArray[np.bool_]]]) -> list[str]:
    """Return a row for each task: how often each precision is right, and where it is alone right or wrong."""
    others = [precision for precision in _RUNTIMES if precision != "fp32"]
    rows = []
    for name, of_task in hits.items():
        base = of_task["fp32"]
        cells = [f"{of_task[precision].mean():.4f}" for precision in _RUNTIMES]
        changes = [
            f"{(of_task[precision] & ~base).sum()} better, {(base & ~of_task[precision]).sum()} worse"
            for precision in others
        ]
        rows.append([name, str(len(base)), *cells, *changes])
    return markdown(["Task", "Texts", *_RUNTIMES, *(f"{precision}, other answers" for precision in others)], rows)


def _read_tasks() -> dict[str, Measured]:
    questions, answers = zip(*faq(), strict=True)
    return {
        "the answer to a question comes first": Search(questions, answers),
        "a review is good or bad": _draw(labelled_reviews(), _REVIEWS),
        "news are of one of five kinds": _draw(labelled_news(), _NEWS),
    }


def _draw(pairs: Sequence[tuple[str, str]], count: int) -> Labelled:
    texts, labels = zip(*random.Random(_SEED).sample(pairs, count), strict=True)
    return Labelled(texts, labels)


async def _embed_all(home: Path, precision: str, tasks: Mapping[str, Measured]) -> dict[str, Vectors]:
    engine = {"engine.runtime": _RUNTIMES[precision], "engine.precision": precision, "engine.tune": False}
    loaded = load_settings({"store.home": str(home), "cache.max_bytes": 0, **engine})
    async with open_service(loaded, [NAME]) as service:
        return {name: await embed(service, list(task.texts), _PER_REQUEST, _AT_ONCE) for name, task in tasks.items()}


if __name__ == "__main__":
    sys.exit(main())
