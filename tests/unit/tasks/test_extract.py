from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.options import Aggregation, Options
from headrace.tasks.extract import TASK, finish, pack, spell, unpack
from headrace.types import Entity, Extraction, Traits, Window

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "L-LOC", "U-LOC", "misc")
TRAITS = Traits(labels=LABELS)
TEXT = "Ada Lovelace met Babbage in London"
WORDS = ((0, 3), (4, 12), (13, 16), (17, 24), (25, 27), (28, 34))


def window(
    labels: Sequence[str],
    spans: Sequence[tuple[int, int]] = WORDS,
    *,
    words: Sequence[int] | None = None,
    repeated: int = 0,
    sure: Sequence[float] | None = None,
) -> Window:
    """Return a window that gives its tokens labels, between two special tokens that would get one too."""
    own = range(len(labels)) if words is None else words
    logits = np.zeros((len(labels) + 2, len(LABELS)), np.float32)
    logits[0, 1] = logits[-1, 1] = 50
    for row, label in enumerate(labels, start=1):
        logits[row, LABELS.index(label)] = 9.0 if sure is None else sure[row - 1]
    rows = [(0, 0, -1), *((*span, word) for span, word in zip(spans, own, strict=True)), (0, 0, -1)]
    arrays = {"token_logits": logits, "spans": np.array(rows, np.int32)}
    return Window(arrays=arrays, tokens=len(labels) + 2, weight=len(labels) - repeated)


def extract(
    *windows: Window, text: str = TEXT, aggregation: Aggregation = "simple", threshold: float | None = None
) -> Extraction:
    return finish(text, windows, False, Options(aggregation=aggregation, threshold=threshold), TRAITS)


def found(*windows: Window, text: str = TEXT, aggregation: Aggregation = "simple") -> list[tuple[str, str]]:
    return names(extract(*windows, text=text, aggregation=aggregation))


def names(result: Extraction) -> list[tuple[str, str]]:
    return [(each.label, each.text) for each in result.entities]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("B-PER I-PER O B-PER O B-LOC", [("PER", "Ada Lovelace"), ("PER", "Babbage"), ("LOC", "London")]),
        ("B-PER B-PER O O O O", [("PER", "Ada"), ("PER", "Lovelace")]),
        ("I-PER I-PER O O O I-LOC", [("PER", "Ada Lovelace"), ("LOC", "London")]),
        ("B-PER I-LOC O O O O", [("PER", "Ada"), ("LOC", "Lovelace")]),
        ("B-LOC L-LOC I-LOC O O U-LOC", [("LOC", "Ada Lovelace"), ("LOC", "met"), ("LOC", "London")]),
        ("U-LOC U-LOC O O O O", [("LOC", "Ada"), ("LOC", "Lovelace")]),
        ("misc misc O O O misc", [("misc", "Ada Lovelace"), ("misc", "London")]),
        ("O O O O O O", []),
    ],
)
def test_labels_of_tokens_become_spans(labels: str, expected: list[tuple[str, str]]) -> None:
    assert found(window(labels.split())) == expected


def test_without_aggregation_each_token_keeps_its_label() -> None:
    tokens = window(["B-PER", "I-PER", "O", "O", "O", "O"])
    assert found(tokens, aggregation="none") == [("B-PER", "Ada"), ("I-PER", "Lovelace")]


PARTS = ((0, 3), (4, 8), (8, 12))
PART_WORDS = (0, 1, 1)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("simple", [("PER", "Ada Love"), ("LOC", "lace")]),
        ("first", [("PER", "Ada Lovelace")]),
        ("average", [("PER", "Ada"), ("LOC", "Lovelace")]),
        ("max", [("PER", "Ada"), ("LOC", "Lovelace")]),
    ],
)
def test_words_are_cut_in_two_by_simple_alone(aggregation: Aggregation, expected: list[tuple[str, str]]) -> None:
    parts = window(["B-PER", "I-PER", "I-LOC"], PARTS, words=PART_WORDS, sure=[5, 3, 6])
    assert found(parts, aggregation=aggregation) == expected


def test_a_score_is_the_mean_over_the_span() -> None:
    (entity,) = extract(window(["B-PER", "I-PER"], WORDS[:2], sure=[1, 3])).entities
    each = [np.exp(logit) / (np.exp(logit) + len(LABELS) - 1) for logit in (1, 3)]
    assert entity.score == pytest.approx(np.mean(each))
    unsure = window(["B-PER", "O"], WORDS[:2], sure=[1, 1])
    assert names(extract(unsure, threshold=each[0] + 0.01)) == []
    assert names(extract(unsure, threshold=each[0] - 0.01)) == [("PER", "Ada")]


def test_a_space_that_a_token_takes_along_is_no_part_of_the_span() -> None:
    (entity,) = extract(window(["B-PER", "I-PER"], ((0, 3), (3, 13)))).entities
    assert entity == Entity("PER", entity.score, 0, 12, "Ada Lovelace")
    assert found(window(["B-PER"], ((3, 4),))) == []  # nothing but a space


def test_a_text_without_tokens_has_no_entities() -> None:
    assert extract(window([], ()), text=" ") == Extraction(entities=(), tokens=2, truncated=False)


@given(st.integers(3, 9), st.data())
def test_windows_that_overlap_give_what_one_window_would_have_given(room: int, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from(LABELS), min_size=room + 1, max_size=40))
    spans = [(2 * index, 2 * index + 1) for index in range(len(labels))]
    text = "x " * len(labels)
    overlap = data.draw(st.integers(0, room - 1))
    starts = range(0, len(labels) - overlap, room - overlap)
    windows = [
        window(
            labels[start : start + room],
            spans[start : start + room],
            words=range(start, min(start + room, len(labels))),
            repeated=overlap if start else 0,
        )
        for start in starts
    ]
    whole, parts = extract(window(labels, spans), text=text), extract(*windows, text=text)
    assert parts.entities == whole.entities
    assert parts.windows == len(windows)


def test_of_what_two_windows_share_each_has_the_half_that_it_shows_more_around_of() -> None:
    first = window(["O", "O", "B-PER", "O"], WORDS[:4])
    second = window(["O", "I-PER", "O", "O"], WORDS[2:], words=(2, 3, 4, 5), repeated=2)
    assert found(first, second) == [("PER", "met Babbage")]


def test_what_is_packed_comes_back() -> None:
    result = extract(window(["B-PER", "I-PER", "O", "O", "O", "U-LOC"]))
    assert unpack(pack(result)) == result
    assert spell(result)["entities"][1] == {
        "label": "LOC",
        "score": result.entities[1].score,
        "start": 28,
        "end": 34,
        "text": "London",
    }
    assert TASK.name == "extract"
