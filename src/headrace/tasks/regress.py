"""``regress``: a text becomes a number, such as a rating."""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from headrace.options import Options
from headrace.tasks.base import Task, closeness, count, pack_counts, unpack_counts
from headrace.types import Regression, Traits, Window

_PACKED: Final = struct.Struct("<d")


def finish(_text: str, windows: Sequence[Window], truncated: bool, _options: Options, _traits: Traits) -> Regression:
    """Return the number of one text; of several windows their mean, weighted by the tokens.

    For each window the graph gives ``logits``, shape ``(1,)``.
    """
    values = [float(np.asarray(window.arrays["logits"])[0]) for window in windows]
    weights = [window.weight for window in windows]
    return Regression(
        value=values[0] if len(values) == 1 else float(np.average(values, weights=weights)),
        **count(windows, truncated),
    )


def pack(result: Regression) -> bytes:
    """Turn a regression into bytes."""
    return pack_counts(result) + _PACKED.pack(result.value)


def unpack(data: bytes) -> Regression:
    """Turn the bytes of ``pack`` back into the regression."""
    counts, own = unpack_counts(data)
    return Regression(value=_PACKED.unpack(own)[0], **counts)


def agree(left: Regression, right: Regression) -> float:
    """Return how close the numbers are."""
    return closeness(left.value, right.value)


def spell(result: Regression) -> dict[str, Any]:
    """Return the fields of a regression."""
    return {"value": result.value}


TASK: Final = Task(
    name="regress",
    model="regress",
    options=("truncate",),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
)
