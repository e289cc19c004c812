"""``answer``: the parts of a text that answer a question; a model reads both together.

The model gives each token a score for being the first and one for being the last of an answer. What is done with them
is what the question-answering pipeline of transformers 4 does, up to whole words and the answer that there is none.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.options import Options
from headrace.tasks.base import Task, count, pack_counts, pair_with_query, trim, unpack_counts
from headrace.types import Finding, Span, Traits, Window, parts_of

# So many pairs of a first and a last token are looked at for each answer that is wanted: several of them are within
# the same words and make one answer.
_PAIRS: Final = 32

_Scores = NDArray[np.float64]
_Place = tuple[int, int]


def finish(text: tuple[str, str], windows: Sequence[Window], truncated: bool, options: Options, _: Traits) -> Finding:
    """Return the answers of one text, which is the second of two.

    For each window the graph gives ``token_logits``, shape ``(s, 2)``, and the tokenizer ``spans``. Of several windows
    each says how sure it is by itself, and the surest counts; that there is no answer is as sure as it is for the
    window that believes it least.
    """
    wanted, least = options.top_k or 1, options.threshold or 0.0
    found: dict[_Place, float] = {}
    no_answer = 1.0
    for window in windows:
        spans = np.asarray(window.arrays["spans"])
        own = np.flatnonzero(spans[:, 2] >= 0)
        starts, ends = _probabilities(np.asarray(window.arrays["token_logits"], dtype=np.float64), own)
        no_answer = min(no_answer, float(starts[0] * ends[0]))
        for place, score in _find(starts[own], ends[own], spans[own], options.max_answer_tokens, wanted):
            found[place] = max(score, found.get(place, 0.0))
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:wanted]
    answers = (_span(parts_of(text)[-1], place, score) for place, score in best)
    return Finding(
        answers=tuple(answer for answer in answers if answer.text and answer.score >= least),
        no_answer=no_answer,
        **count(windows, truncated),
    )


def _probabilities(logits: _Scores, own: NDArray[np.intp]) -> _Scores:
    """Return how likely an answer begins and ends at each token, shape ``(2, s)``.

    It is one of the text's own, or the first one of the window if there is no answer.
    """
    shares = np.zeros(logits.T.shape)
    open_to = np.concatenate([[0], own])
    powers = np.exp(logits[open_to] - logits[open_to].max(axis=0))
    shares[:, open_to] = (powers / powers.sum(axis=0)).T
    return shares


def _find(
    starts: _Scores, ends: _Scores, spans: NDArray[np.int32], most: int, wanted: int
) -> Iterator[tuple[_Place, float]]:
    """Yield places of answers, of whole words, with how likely they are.

    Args:
        starts: How likely an answer begins at each of the text's tokens, shape ``(m,)``.
        ends: How likely it ends there.
        spans: Those of the tokens, shape ``(m, 3)``.
        most: Tokens of an answer.
        wanted: So many places at least, if there are so many.
    """
    length = len(starts)
    width = min(most, length)
    if not width:
        return
    # Row i has the tokens at which an answer that begins at i may end: i and those after it. None is after the last.
    later = np.concatenate([ends, np.full(width - 1, -1.0)])
    scores = (starts[:, None] * np.lib.stride_tricks.sliding_window_view(later, width)).ravel()
    scores[(np.arange(length)[:, None] + np.arange(width) >= length).ravel()] = -1.0
    looked_at = min(_PAIRS * wanted, scores.size)
    best = np.argpartition(-scores, looked_at - 1)[:looked_at]
    words = spans[:, 2]
    for pair in best:
        first, extra = divmod(int(pair), width)
        if scores[pair] >= 0:
            begin = int(np.searchsorted(words, words[first], "left"))
            end = int(np.searchsorted(words, words[first + extra], "right")) - 1
            yield (int(spans[begin, 0]), int(spans[end, 1])), float(scores[pair])


def _span(text: str, place: _Place, score: float) -> Span:
    start, own = trim(text, *place)
    return Span(score, start, start + len(own), own)


def pack(result: Finding) -> bytes:
    """Turn a finding into bytes: JSON, whose numbers come back exactly."""
    rows = [[each.score, each.start, each.end, each.text] for each in result.answers]
    return pack_counts(result) + json.dumps([result.no_answer, rows]).encode()


def unpack(data: bytes) -> Finding:
    """Turn the bytes of ``pack`` back into the finding."""
    counts, own = unpack_counts(data)
    no_answer, rows = json.loads(own)
    return Finding(answers=tuple(Span(*row) for row in rows), no_answer=no_answer, **counts)


def agree(left: Finding, right: Finding) -> float:
    """Return 1 if the best answers are the same part of the text, or both have none."""
    best = [found.answers[0] if found.answers else None for found in (left, right)]
    places = [(each.start, each.end) if each else None for each in best]
    return float(places[0] == places[1])


def spell(result: Finding) -> dict[str, Any]:
    """Return the fields of a finding."""
    return {
        "answers": [
            {"text": each.text, "score": each.score, "start": each.start, "end": each.end} for each in result.answers
        ],
        "no_answer": result.no_answer,
    }


TASK: Final = Task(
    name="answer",
    model="answer",
    options=("truncate", "top_k", "threshold", "max_answer_tokens"),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
    expand=pair_with_query,
)
