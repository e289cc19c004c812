"""``extract``: spans of a text get labels, such as the names of people and places in it.

The model gives scores of labels for each token. Labels are read as BIO, and as BILOU or BIOES where a model has those
letters; what the aggregations do is what transformers' pipeline does.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.options import Aggregation, Options
from headrace.tasks.base import Task, count, pack_counts, trim, unpack_counts
from headrace.types import Entity, Extraction, Traits, Window

_OUTSIDE: Final = "O"
_FIRST: Final = frozenset("BUS")  # begins a span: begin, unit, single
_LAST: Final = frozenset("LEUS")  # ends one: last, end, unit, single
_LETTERS: Final = _FIRST | _LAST | {"I"}
_INSIDE: Final = "I"

_Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of a text, those of all its windows, each once.

    Attributes:
        scores: Probabilities of the labels, shape ``(n, labels)``.
        spans: As of ``Window``, shape ``(n, 3)``.
    """

    scores: _Scores
    spans: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A token or a word with its best label."""

    label: str
    score: float
    start: int
    end: int


def finish(text: str, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Extraction:
    """Return the entities of one text, in its order.

    For each window the graph gives ``token_logits``, shape ``(s, labels)``, and the tokenizer ``spans``.
    """
    pieces = list(_pieces(_join(windows), options.aggregation, traits.labels))
    groups = ([piece] for piece in pieces) if options.aggregation == "none" else _group(pieces)
    entities = [_entity(text, group, is_whole=options.aggregation != "none") for group in groups]
    least = -1.0 if options.threshold is None else options.threshold
    return Extraction(
        entities=tuple(each for each in entities if each.label != _OUTSIDE and each.text and each.score >= least),
        **count(windows, truncated),
    )


def _join(windows: Sequence[Window]) -> _Tokens:
    """Put the windows of a text together.

    What two windows share is cut in the middle: each token is taken from the window that shows more of what is around
    it. So an entity at the border of a window is whole.
    """
    owns = [np.flatnonzero(np.asarray(window.arrays["spans"])[:, 2] >= 0) for window in windows]
    repeated = [len(own) - window.weight for own, window in zip(owns, windows, strict=True)]  # were in the one before
    logits, spans = [], []
    for window, own, before, after in zip(windows, owns, repeated, (*repeated[1:], 0), strict=True):
        kept = own[before // 2 : len(own) - (after - after // 2)]
        logits.append(np.asarray(window.arrays["token_logits"], dtype=np.float64)[kept])
        spans.append(np.asarray(window.arrays["spans"])[kept])
    rows = np.concatenate(logits)
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return _Tokens(powers / powers.sum(axis=1, keepdims=True), np.concatenate(spans))


def _pieces(tokens: _Tokens, aggregation: Aggregation, labels: Sequence[str]) -> Iterator[_Piece]:
    """Yield what gets a label of its own: tokens, or words."""
    is_token = aggregation in {"none", "simple"}
    parts = range(len(tokens.spans)) if is_token else tokens.spans[:, 2]
    for _, members in groupby(range(len(tokens.spans)), key=lambda index: int(parts[index])):
        place = list(members)
        scores = _merge(tokens.scores[place], aggregation)
        best = int(scores.argmax())
        start, end = int(tokens.spans[place[0], 0]), int(tokens.spans[place[-1], 1])
        yield _Piece(labels[best], float(scores[best]), start, end)


def _merge(scores: _Scores, aggregation: Aggregation) -> _Scores:
    """Return the scores of a word, of those of its tokens."""
    if aggregation == "average":
        return np.asarray(scores.mean(axis=0))
    surest = int(scores.max(axis=1).argmax()) if aggregation == "max" else 0
    return np.asarray(scores[surest])


def _group(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yield the pieces of each span together, and those of what is outside."""
    if not pieces:
        return
    group = [pieces[0]]
    for before, piece in pairwise(pieces):
        if _is_next(before.label, piece.label):
            group.append(piece)
        else:
            yield group
            group = [piece]
    yield group


def _is_next(before: str, label: str) -> bool:
    (last, kind), (letter, own) = _read(before), _read(label)
    return kind == own and letter not in _FIRST and last not in _LAST


def _read(label: str) -> tuple[str, str]:
    """Return the letter of a label and what it stands for; a label without a letter goes on like one with I."""
    letter, dash, kind = label.partition("-")
    return (letter, kind) if dash and letter in _LETTERS else (_INSIDE, label)


def _entity(text: str, pieces: Sequence[_Piece], *, is_whole: bool) -> Entity:
    start, own = trim(text, pieces[0].start, pieces[-1].end)
    label = _read(pieces[0].label)[1] if is_whole else pieces[0].label
    score = sum(piece.score for piece in pieces) / len(pieces)
    return Entity(label=label, score=score, start=start, end=start + len(own), text=own)


def pack(result: Extraction) -> bytes:
    """Turn an extraction into bytes: JSON, whose numbers come back exactly."""
    rows = [[each.label, each.score, each.start, each.end, each.text] for each in result.entities]
    return pack_counts(result) + json.dumps(rows).encode()


def unpack(data: bytes) -> Extraction:
    """Turn the bytes of ``pack`` back into the extraction."""
    counts, own = unpack_counts(data)
    return Extraction(entities=tuple(Entity(*row) for row in json.loads(own)), **counts)


def agree(left: Extraction, right: Extraction) -> float:
    """Return the F1 of the entities: those that both have, among those that either has."""
    first, second = ({(each.label, each.start, each.end) for each in found.entities} for found in (left, right))
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0


def spell(result: Extraction) -> dict[str, Any]:
    """Return the fields of an extraction."""
    return {
        "entities": [
            {"label": each.label, "score": each.score, "start": each.start, "end": each.end, "text": each.text}
            for each in result.entities
        ]
    }


TASK: Final = Task(
    name="extract",
    model="extract",
    options=("truncate", "threshold", "aggregation"),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
)
