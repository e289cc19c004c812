"""``rerank``: texts are put in order by how well they answer a query; a model reads it together with each of them."""

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from headrace.options import Options
from headrace.tasks.base import Task, closeness, count, pack_counts, pair_with_query, unpack_counts
from headrace.types import Ranking, Request, Text, Traits, Window

_PACKED: Final = struct.Struct("<d")


def finish(_text: Text, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Ranking:
    """Return the score of one text; of several windows the best, since an answer may stand anywhere.

    For each window the graph gives ``logits``, shape ``(1,)``.
    """
    score = max(float(np.asarray(window.arrays["logits"])[0]) for window in windows)
    return Ranking(
        score=score if options.raw or traits.function == "identity" else _sigmoid(score),
        **count(windows, truncated),
    )


def _sigmoid(score: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * score))  # 1 / (1 + exp(-x)), which overflows


def combine(results: Sequence[Ranking], request: Request) -> tuple[Ranking, ...]:
    """Give each its place among the inputs, and return the best first, as many as were asked for."""
    return choose_best([replace(result, index=index) for index, result in enumerate(results)], request.options)


def choose_best(results: Sequence[Ranking], options: Options) -> tuple[Ranking, ...]:
    """Return the best first, as many as were asked for; equal ones in the order of the inputs."""
    return tuple(sorted(results, key=lambda result: (-result.score, result.index))[: options.top_k])


def pack(result: Ranking) -> bytes:
    """Turn a score into bytes; its place belongs to a request."""
    return pack_counts(result) + _PACKED.pack(result.score)


def unpack(data: bytes) -> Ranking:
    """Turn the bytes of ``pack`` back into the score."""
    counts, own = unpack_counts(data)
    return Ranking(score=_PACKED.unpack(own)[0], **counts)


def agree(left: Ranking, right: Ranking) -> float:
    """Return how close the scores are."""
    return closeness(left.score, right.score)


def spell(result: Ranking) -> dict[str, Any]:
    """Return the fields of a ranking."""
    return {"index": result.index, "score": result.score}


TASK: Final = Task(
    name="rerank",
    model="rerank",
    options=("truncate", "raw"),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
    expand=pair_with_query,
    combine=combine,
)
