"""How a long list becomes requests."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.parts import Bounds, Piece, split
from headrace.errors import RequestInvalid

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=60)


@given(TEXTS, st.integers(0, 5), st.integers(1, 20), st.integers(1, 200), st.integers(0, 1000))
def test_the_parts_are_the_list_and_keep_the_bounds(
    texts: list[str], labels: int, most: int, size_bytes: int, start: int
):
    bounds = Bounds(most, size_bytes)
    pieces = list(split(texts, labels, lambda: bounds, start))
    assert [text for piece in pieces for text in piece.texts] == texts
    place = start
    for piece in pieces:
        assert piece.start == place
        place += len(piece.texts)
        assert len(piece.texts) == 1 or len(piece.texts) * max(1, labels) <= most
        assert len(piece.texts) == 1 or piece.size_bytes <= size_bytes
        assert piece.size_bytes == len(orjson.dumps(piece.texts)) - 1
    for before, after in itertools.pairwise(pieces):  # none could have taken one more
        own = len(orjson.dumps(after.texts[0])) + 1
        is_full = len(before.texts) >= max(1, most // max(1, labels))
        assert is_full or before.size_bytes + own > size_bytes


@given(TEXTS.filter(lambda texts: len(texts) > 1), st.integers(0, 3), st.sampled_from([None, "inputs", "labels"]))
def test_what_is_too_much_becomes_less(texts: list[str], labels: int, field: str | None):
    [piece] = split(texts, labels, lambda: Bounds(10_000, 1 << 20))
    narrowed = Bounds(10_000, 1 << 20).narrowed(field, piece, labels)
    assert len(list(split(piece.texts, labels, lambda: narrowed))) > 1


def test_bounds_may_change_while_a_list_is_read():
    bounds = [Bounds(4, 1 << 20)]
    sizes = []
    for piece in split(["a"] * 10, 0, lambda: bounds[-1]):
        sizes.append(len(piece.texts))
        bounds.append(Bounds(2, 1 << 21).within(bounds[-1]))
    assert sizes == [4, 2, 2, 2]
    assert bounds[-1] == Bounds(2, 1 << 20)


@pytest.mark.parametrize("bad", [1, None, b"a", ["a"], "\ud800"])
def test_what_is_no_text_is_refused_by_its_place(bad: object):
    with pytest.raises(RequestInvalid) as caught:
        list(split(["a", "b", bad], 0, lambda: Bounds(2, 100), start=5))  # type: ignore[list-item]
    assert caught.value.field == "inputs[7]"


def test_a_list_without_texts_has_no_parts():
    assert list(split([], 0, lambda: Bounds(2, 100))) == []
    assert list(split(["a"], 9, lambda: Bounds(2, 100))) == [Piece(0, ("a",), 4)]
