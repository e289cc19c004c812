"""Spans of words, as their tags say: BIO, BILOU and BIOES."""

import itertools
from collections.abc import Sequence
from typing import Final

OUTSIDE: Final = "O"
_BEGIN: Final = frozenset("BSU")  # and a single word is also a beginning
_END: Final = frozenset("ESUL")
_PREFIXES: Final = frozenset("BILUES")

Span = tuple[int, int, str]
"""First word, the one after the last, and the label."""


def is_tag(tag: str) -> bool:
    """Whether a tag is one of a scheme that is read here."""
    prefix, dash, label = tag.partition("-")
    return tag == OUTSIDE or (prefix in _PREFIXES and bool(dash) and bool(label))


def spans_of(tags: Sequence[str]) -> set[Span]:
    """Return the spans of a sentence.

    A word that goes on with a span that is not there begins one, as in the evaluation of CoNLL 2000
    (https://aclanthology.org/W00-0726/).
    """
    spans: set[Span] = set()
    begin, open_label = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, label = tag.partition("-")
        if open_label and (tag == OUTSIDE or prefix in _BEGIN or label != open_label):
            spans.add((begin, place, open_label))
            open_label = ""
        if tag != OUTSIDE and not open_label:
            begin, open_label = place, label
        if open_label and prefix in _END:
            spans.add((begin, place + 1, open_label))
            open_label = ""
    return spans


def character_spans(words: Sequence[str], tags: Sequence[str]) -> set[Span]:
    """Return the same by characters of the text in which a space is between words."""
    ends = list(itertools.accumulate(len(word) + 1 for word in words))
    begins = [end - len(word) - 1 for end, word in zip(ends, words, strict=True)]
    return {(begins[first], ends[last - 1] - 1, label) for first, last, label in spans_of(tags)}


def with_beginnings(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags in which every span begins with a B: in IOB1, only one that follows another of its label does."""
    mended = list(tags)
    for place, tag in enumerate(tags):
        before = tags[place - 1].partition("-")[2] if place else ""
        if tag.startswith("I-") and tag.partition("-")[2] != before:
            mended[place] = "B" + tag[1:]
    return tuple(mended)
