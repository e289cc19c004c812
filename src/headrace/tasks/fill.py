"""``fill``: words for the places where a text has a mask instead of one."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.base import Task, count, pack_counts, unpack_counts
from headrace.types import Filling, Mask, Traits, Window, Word

_WORDS: Final = 5  # that are told of each mask unless the caller says how many, as by transformers' pipeline

_Place = tuple[int, int]


def finish(_text: str, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Filling:
    """Return the masks of one text, in its order.

    For each mask of a window, the engine gives ``token_words``, shape ``(m, k, bytes)``, UTF-8 with zeros after it,
    ``token_scores``, shape ``(m, k)``, the best first, and ``spans``. Of several windows that one counts for a mask
    that is the surest.

    Raises:
        RequestInvalid: There is no mask in what was read.
    """
    found: dict[_Place, tuple[Word, ...]] = {}
    for window in windows:
        for (start, end, _), words in zip(np.asarray(window.arrays["spans"]).tolist(), _read(window), strict=True):
            known = found.get((start, end))
            if known is None or words[0].score > known[0].score:
                found[start, end] = words
    if not found:
        where = " in the part of it that was read" if truncated else ""
        raise RequestInvalid(f"the text has no {traits.mask}{where}; put one where a word is to be found")
    masks = (Mask(start, end, _choose(words, options)) for (start, end), words in sorted(found.items()))
    return Filling(masks=tuple(masks), **count(windows, truncated))


def _read(window: Window) -> list[tuple[Word, ...]]:
    """Return the words of each mask."""
    words, scores = np.asarray(window.arrays["token_words"]), np.asarray(window.arrays["token_scores"])
    return [
        tuple(Word(_text(word), score) for word, score in zip(row, shares, strict=True))
        for row, shares in zip(words, scores.tolist(), strict=True)
    ]


def _text(word: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    return word.tobytes().rstrip(b"\0").decode(errors="replace")


def _choose(words: Sequence[Word], options: Options) -> tuple[Word, ...]:
    least = options.threshold or 0.0
    return tuple(word for word in words[: options.top_k or _WORDS] if word.score >= least)


def pack(result: Filling) -> bytes:
    """Turn a filling into bytes: JSON, whose numbers come back exactly."""
    rows = [[mask.start, mask.end, [[word.text, word.score] for word in mask.words]] for mask in result.masks]
    return pack_counts(result) + json.dumps(rows).encode()


def unpack(data: bytes) -> Filling:
    """Turn the bytes of ``pack`` back into the filling."""
    counts, own = unpack_counts(data)
    masks = (Mask(start, end, tuple(Word(*word) for word in words)) for start, end, words in json.loads(own))
    return Filling(masks=tuple(masks), **counts)


def agree(left: Filling, right: Filling) -> float:
    """Return the share of the masks that get the same word first."""
    first, second = (
        [(mask.start, [word.text for word in mask.words[:1]]) for mask in one.masks] for one in (left, right)
    )
    same = sum(one == other for one, other in zip(first, second, strict=False))
    return same / max(len(first), len(second), 1)


def spell(result: Filling) -> dict[str, Any]:
    """Return the fields of a filling."""
    return {
        "masks": [
            {
                "start": mask.start,
                "end": mask.end,
                "words": [{"text": word.text, "score": word.score} for word in mask.words],
            }
            for mask in result.masks
        ]
    }


TASK: Final = Task(
    name="fill",
    model="fill",
    options=("truncate", "top_k", "threshold"),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
)
