"""``zeroshot``: texts get labels that are chosen with the request; no model was trained on them.

A label becomes a sentence, and a model of natural language inference says whether that follows from the text. How its
scores become those of the labels is what transformers' pipeline does.
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.base import Task, count, name_input, name_label, pack_counts, unpack_counts
from headrace.tasks.classify import choose_labels, softmax, spell
from headrace.types import Classification, Entailment, Request, Text, Traits, Window, find_entailment

_CONTRADICTION: Final = "contra"
_PLACE: Final = "{}"
_MAX_TEMPLATE: Final = 1000  # characters; each label makes a sentence of it
_PACKED: Final = struct.Struct("<dd")


def expand(request: Request, _traits: Traits) -> tuple[Text, ...]:
    """Return each of the inputs with the sentence of each label.

    Raises:
        RequestInvalid: There are no labels, one is empty or there twice, or the template has no place for one.
    """
    template = request.options.template
    if template.count(_PLACE) != 1 or len(template) > _MAX_TEMPLATE:
        raise RequestInvalid(
            f"the template must have {_PLACE} once, where the label goes, and at most {_MAX_TEMPLATE} characters",
            field="options.template",
        )
    if not request.labels:
        raise RequestInvalid("labels is empty; send what the texts may be about", field="labels")
    seen: set[str] = set()
    for index, label in enumerate(request.labels):
        if not label.strip() or label in seen:
            problem = "the same as one before" if label.strip() else "empty"
            raise RequestInvalid(f"the label is {problem}; send each label once", field=name_label(index))
        seen.add(label)
    sentences = [template.replace(_PLACE, label) for label in request.labels]
    return tuple((text, sentence) for text in request.inputs for sentence in sentences)


def name_text(index: int, request: Request) -> str:
    """Return what the caller calls a text: all sentences are read with the first input, then with the next."""
    return name_input(index // len(request.labels))


def finish(_text: Text, windows: Sequence[Window], truncated: bool, _options: Options, traits: Traits) -> Entailment:
    """Return what the model says of one text and one sentence.

    For each window the graph gives ``logits``, shape ``(labels,)``. Of several windows that one counts which says most
    surely that the sentence follows: it follows from the whole if it follows from a part.
    """
    entailment = find_entailment(traits.labels) or 0
    contradiction = _find_contradiction(traits.labels, entailment)
    rows = np.stack([np.asarray(window.arrays["logits"], dtype=np.float64) for window in windows])
    surest = rows[(rows[:, entailment] - rows[:, contradiction]).argmax()]
    return Entailment(
        entailment=float(surest[entailment]),
        contradiction=float(surest[contradiction]),
        **count(windows, truncated),
    )


def _find_contradiction(labels: Sequence[str], entailment: int) -> int:
    """Return which label says that it cannot be; where none is called so, that at the other end, as in transformers."""
    other_end = 0 if entailment else len(labels) - 1
    return next((index for index, label in enumerate(labels) if label.lower().startswith(_CONTRADICTION)), other_end)


def combine(results: Sequence[Entailment], request: Request) -> tuple[Classification, ...]:
    """Return for each of the inputs its labels."""
    size = len(request.labels)
    return tuple(_classify(results[start : start + size], request) for start in range(0, len(results), size))


def _classify(results: Sequence[Entailment], request: Request) -> Classification:
    if request.options.multi_label or len(results) == 1:
        pairs = np.array([(result.entailment, result.contradiction) for result in results])
        scores = softmax(pairs)[:, 0]
    else:
        scores = softmax(np.array([[result.entailment for result in results]]))[0]
    return Classification(
        labels=choose_labels(request.labels, scores, request.options),
        tokens=sum(result.tokens for result in results),
        truncated=any(result.truncated for result in results),
        windows=max(result.windows for result in results),
    )


def pack(result: Entailment) -> bytes:
    """Turn the scores of a text and a sentence into bytes."""
    return pack_counts(result) + _PACKED.pack(result.entailment, result.contradiction)


def unpack(data: bytes) -> Entailment:
    """Turn the bytes of ``pack`` back into the scores."""
    counts, own = unpack_counts(data)
    entailment, contradiction = _PACKED.unpack(own)
    return Entailment(entailment=entailment, contradiction=contradiction, **counts)


def agree(left: Entailment, right: Entailment) -> float:
    """Return 1 if both say that the sentence follows, or both that it does not."""
    return float((left.entailment > left.contradiction) == (right.entailment > right.contradiction))


TASK: Final = Task(
    name="zeroshot",
    model="zeroshot",
    options=("truncate",),
    finish=finish,
    pack=pack,
    unpack=unpack,
    agree=agree,
    spell=spell,
    expand=expand,
    name_text=name_text,
    combine=combine,
)
