"""``classify``: a text becomes scores for labels: one label among all (softmax), or each by itself (sigmoid)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.options import Options
from headrace.tasks.base import Task, count, pack_counts, unpack_counts
from headrace.types import Classification, Label, ScoreFunction, Traits, Window

_Scores = NDArray[np.float64]


def finish(_text: str, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Classification:
    """Return the labels of one text, the best first.

    For each window the graph gives ``logits``, shape ``(labels,)``, in the order of the model's labels.
    """
    scores = _merge(windows, options, traits.function)
    return Classification(labels=choose_labels(traits.labels, scores, options), **count(windows, truncated))


def choose_labels(names: Sequence[str], scores: _Scores, options: Options) -> tuple[Label, ...]:
    """Return the labels that were asked for, the best first; equal ones in their order.

    Args:
        names: Of the labels.
        scores: Shape ``(labels,)``.
        options: Their ``threshold`` and ``top_k`` count.
    """
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    if options.threshold is not None:
        order = [index for index in order if scores[index] >= options.threshold]
    return tuple(Label(names[index], float(scores[index])) for index in order[: options.top_k])


def _merge(windows: Sequence[Window], options: Options, function: ScoreFunction) -> _Scores:
    """Return one score for each label.

    Of a text in several windows, one label among all is what most of the text says: the mean, weighted by the tokens.
    Labels that stand each for itself hold if they hold anywhere: the greatest.
    """
    rows = np.stack([np.asarray(window.arrays["logits"], dtype=np.float64) for window in windows])
    if not options.raw:
        rows = _PROBABILITIES[function](rows)
    if len(rows) == 1:
        return np.asarray(rows[0])
    if function == "sigmoid":
        return np.asarray(rows.max(axis=0))
    return np.asarray(np.average(rows, axis=0, weights=[window.weight for window in windows]))


def softmax(rows: _Scores) -> _Scores:
    """Return probabilities of one among all; shape ``(n, labels)`` in and out."""
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(rows: _Scores) -> _Scores:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * rows)))  # 1 / (1 + exp(-x)), which overflows


_PROBABILITIES: Final[Mapping[ScoreFunction, Callable[[_Scores], _Scores]]] = {
    "softmax": softmax,
    "sigmoid": _sigmoid,
    "identity": np.asarray,
}


def pack(result: Classification) -> bytes:
    """Turn a classification into bytes: JSON, whose numbers come back exactly."""
    return pack_counts(result) + json.dumps([[label.name, label.score] for label in result.labels]).encode()


def unpack(data: bytes) -> Classification:
    """Turn the bytes of ``pack`` back into the classification."""
    counts, own = unpack_counts(data)
    return Classification(labels=tuple(Label(name, score) for name, score in json.loads(own)), **counts)


def agree(left: Classification, right: Classification) -> float:
    """Return 1 if the best labels are the same."""
    best = [found.labels[0].name if found.labels else None for found in (left, right)]
    return float(best[0] == best[1])


def spell(result: Classification) -> dict[str, Any]:
    """Return the fields of a classification."""
    return {"labels": [{"label": label.name, "score": label.score} for label in result.labels]}


TASK: Final = Task(
    name="classify",
    model="classify",
    options=("truncate", "top_k", "threshold", "raw"),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
)
