"""How far answers are from those of the original model, and what the original answered.

A model folder carries some texts with the original's answers (``reference.json``). Whatever runs the model later,
in whatever precision and on whatever processor, is compared with them before it serves.
"""

import base64
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import Engine, Job, Output
from headrace.engine.plan import Precision
from headrace.errors import HeadraceError, ModelCorrupt
from headrace.models.disk import reading
from headrace.types import Arrays, Text

_LIMIT_S: Final = 60.0
_TINY: Final = 1e-30  # keeps a norm of 0 from dividing by it
# Scores of a classifier near 0 point anywhere: how far apart they are counts beside a score of 1, which is e times the
# odds. A cosine of 0.999 is then a difference of 0.045 between small scores.
_SCORE: Final = 1.0
_SCORES: Final = frozenset({"logits", "token_logits"})
_WORST_COSINE: Final = -1.0
_WORST_DIFFERENCE: Final = 2.0  # between vectors of length 1 nothing is further apart


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one output of one text is from the original's.

    Attributes:
        cosine: Of the angle between them.
        difference: Largest difference of one number; of ``norm`` relative to the original's.
    """

    cosine: float
    difference: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How close all answers are to the original's: least and mean cosine, of the output that is furthest."""

    min_cosine: float
    mean_cosine: float

    def reaches(self, other: "Agreement") -> bool:
        """Whether these answers are at least as close as others."""
        return self.min_cosine >= other.min_cosine and self.mean_cosine >= other.mean_cosine

    def __str__(self) -> str:
        return f"cosines of {self.min_cosine:.4f} at least and {self.mean_cosine:.4f} on average"


REQUIRED: Final[Mapping[Precision, Agreement]] = {
    "fp32": Agreement(0.999, 0.999),
    "int16": Agreement(0.999, 0.999),
    "bf16": Agreement(0.999, 0.999),
    "int8": Agreement(0.996, 0.999),
}
"""What each precision must keep, or it is not served. bfloat16 keeps 0.9998 (all-MiniLM-L6-v2). Integers keep 0.9995
on average and 0.997 at least, and lose no retrieval (decision 0010); careless ones give 0.99, and the order of search
results changes."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Texts, and what the original model gave for each."""

    texts: tuple[Text, ...]
    arrays: tuple[Arrays, ...]


def measure(expected: Sequence[Arrays], found: Sequence[Output | HeadraceError]) -> Mapping[str, tuple[Distance, ...]]:
    """Return the distances of each output, text by text; an error is as far away as an answer can be."""
    return {
        name: tuple(_distance(name, wanted[name], item) for wanted, item in zip(expected, found, strict=True))
        for name in expected[0]
    }


def compare(reference: Reference, found: Sequence[Output | HeadraceError]) -> Agreement:
    """Return how close answers are to the original's."""
    cosines = [[distance.cosine for distance in row] for row in measure(reference.arrays, found).values()]
    return Agreement(min(map(min, cosines)), min(statistics.fmean(row) for row in cosines))


async def answer_reference(engine: Engine, reference: Reference) -> list[Output | HeadraceError]:
    """Return what an engine answers to the texts of a reference, in their order."""
    items: list[Output | HeadraceError] = []
    for text in reference.texts:  # one at a time: a queue may be as short as one text
        job = Job(texts=(text,), truncate="truncate", deadline=time.monotonic() + _LIMIT_S)
        items.extend((await engine.run(job)).items)
    return items


def write_reference(path: Path, reference: Reference) -> None:
    """Write a reference: JSON, the numbers as little-endian float32 in base64."""
    content = {
        "texts": reference.texts,
        "outputs": {name: _encode([arrays[name] for arrays in reference.arrays]) for name in reference.arrays[0]},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_reference(path: Path) -> Reference:
    """Read what ``write_reference`` wrote.

    Raises:
        ModelCorrupt: It is no reference.
        StoreUnusable: It cannot be read.
    """
    with reading(path):
        data = path.read_bytes()
    try:
        content = json.loads(data)
        texts = tuple(_read_text(text) for text in content["texts"])
        outputs = {name: _decode(value, len(texts)) for name, value in content["outputs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelCorrupt(f"{path} holds no reference answers; import the model again") from error
    return Reference(texts, tuple({name: rows[i] for name, rows in outputs.items()} for i in range(len(texts))))


def _read_text(text: Any) -> Text:
    if not isinstance(text, list):
        return str(text)
    first, second = text
    return str(first), str(second)


def _encode(arrays: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Return the arrays of one output; where each has a row for each token, one after the other, with their lengths."""
    is_ragged = len({array.shape for array in arrays}) > 1
    values = np.concatenate(arrays) if is_ragged else np.stack(arrays)
    lengths = {"lengths": [len(array) for array in arrays]} if is_ragged else {}
    data = base64.b64encode(values.astype("<f4").tobytes()).decode()
    return {"shape": values.shape, **lengths, "data": data}


def _decode(value: Mapping[str, Any], texts: int) -> Sequence[NDArray[np.float32]]:
    values = np.frombuffer(base64.b64decode(value["data"], validate=True), "<f4").reshape(value["shape"])
    if "lengths" not in value:
        rows = list(values)
    elif sum(value["lengths"]) == len(values):
        rows = np.split(values, np.cumsum(value["lengths"])[:-1])
    else:
        raise ValueError("the lengths do not add up to the rows")
    if len(rows) != texts:
        raise ValueError("the number of rows is not the number of texts")
    return rows


def _distance(name: str, expected: NDArray[Any], found: Output | HeadraceError) -> Distance:
    if isinstance(found, HeadraceError) or name not in found.arrays:
        return Distance(_WORST_COSINE, _WORST_DIFFERENCE)
    wanted = np.asarray(expected, dtype=np.float64).ravel()
    given = np.asarray(found.arrays[name], dtype=np.float64).ravel()
    if wanted.shape != given.shape or not np.isfinite(wanted).all() or not np.isfinite(given).all():
        return Distance(_WORST_COSINE, _WORST_DIFFERENCE)
    difference = float(np.abs(wanted - given).max())
    if name == "norm":
        difference /= max(float(np.abs(wanted).max()), _TINY)
    return Distance(cosine_of(name, wanted, given), difference)


def cosine_of(name: str, left: NDArray[Any], right: NDArray[Any]) -> float:
    """Return the cosine of an output's values for one text and other such values; two vectors of zeros agree."""
    one, other = (np.asarray(each, np.float64).ravel() for each in (left, right))
    if name in _SCORES:
        one, other = np.append(one, _SCORE), np.append(other, _SCORE)
    lengths = math.sqrt(float(one @ one) * float(other @ other))
    if lengths == 0:
        return 1.0 if np.array_equal(one, other) else 0.0
    return float(one @ other) / lengths
