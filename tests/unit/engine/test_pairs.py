from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.tiny_tokenizers import CORPUS, TRAIN

from headrace.engine.base import Encoding
from headrace.engine.pairs import PairLayout
from headrace.engine.tokenizer import FastTokenizer
from headrace.engine.windows import Body
from headrace.errors import InputTooLong, RequestInvalid

TRAIN_WHOLE = {kind: train() for kind, train in TRAIN.items()}
LAYOUT = PairLayout(before=(901,), between=(902,), after=(903,), boundary=2, max_tokens=19)  # room for 16
PAIRS = [
    *((CORPUS[0], text) for text in CORPUS[:7]),
    ("", CORPUS[1]),
    (CORPUS[1], ""),
    ("", ""),
    (" ".join(CORPUS[:4]), "the wheel"),
    ("the wheel", " ".join(CORPUS[:4])),
    (" ".join(CORPUS[:4]), " ".join(CORPUS[3:7])),
]


def only(found: object) -> Encoding:
    assert isinstance(found, tuple)
    (window,) = found
    assert isinstance(window, Encoding)
    return window


def test_two_texts_that_fit_stand_side_by_side():
    window = only(LAYOUT.lay_out(Body([1, 2]), Body([3]), "error"))
    assert list(window.ids) == [901, 1, 2, 902, 3, 903]
    assert (window.boundary, window.weight, window.truncated) == (4, 3, False)


def test_two_texts_that_do_not_fit_are_refused_if_that_is_asked_for():
    error = LAYOUT.lay_out(Body(range(9)), Body(range(8)), "error")
    assert isinstance(error, InputTooLong)
    assert "more than 19 tokens" in error.message


@pytest.mark.parametrize("kind", TRAIN)
@pytest.mark.parametrize("window", [12, 13, 24, 200])
def test_pairs_are_cut_and_marked_as_the_tokenizers_library_does(tmp_path: Path, kind: str, window: int):
    reference = TRAIN[kind]()
    reference.save(str(tmp_path / "tokenizer.json"))
    reference.enable_truncation(window)
    found = FastTokenizer(tmp_path / "tokenizer.json", window).encode(PAIRS, "truncate")
    for (first, second), windows in zip(PAIRS, found, strict=True):
        encoding = only(windows)
        expected = reference.encode(first, second)
        if all(len(TRAIN_WHOLE[kind].encode(text).ids) > window for text in (first, second)):
            boundary = len(encoding.ids) if encoding.boundary is None else encoding.boundary
            assert abs(boundary - expected.type_ids.count(0)) <= 1
            assert len(encoding.ids) == len(expected.ids)
            continue
        assert list(encoding.ids) == expected.ids
        types = [
            int(encoding.boundary is not None and place >= encoding.boundary) for place in range(len(encoding.ids))
        ]
        assert types == expected.type_ids
        assert encoding.truncated == bool(expected.overflowing)


def spans_of(length: int) -> NDArray[np.int32]:
    places = np.arange(length, dtype=np.int32)
    return np.stack([places, places + 1, places // 3], axis=1).reshape(-1, 3)


@given(st.integers(0, 400), st.integers(0, 400))
def test_windows_show_all_of_the_longer_text_each_with_the_shorter(first: int, second: int):
    texts = (Body(range(first), spans_of(first)), Body(range(1000, 1000 + second), spans_of(second)))
    found = LAYOUT.lay_out(*texts, "chunk")
    assert isinstance(found, tuple)
    is_over = first + second > LAYOUT.room
    kept = [length if not is_over else min(length, 8) for length in (first, second)]
    kept[int(second >= first)] = (first, second)[int(second >= first)]
    own = [[[id_ for id_ in window.ids if at <= id_ < at + 400] for window in found] for at in (0, 1000)]
    for shown, length, at in zip(own, kept, (0, 1000), strict=True):
        assert sorted({id_ for ids in shown for id_ in ids}) == list(range(at, at + length))
    if is_over:
        shorter = own[int(second < first)]
        assert all(ids == shorter[0] for ids in shorter)
    assert all(len(window.ids) <= LAYOUT.max_tokens for window in found)
    assert sum(window.weight for window in found) == sum(kept)
    assert {window.truncated for window in found} == {is_over and min(first, second) > 8}
    for window in found:
        assert window.spans is not None
        places = [(id_ - 1000, id_ - 999, (id_ - 1000) // 3) if id_ >= 1000 else (0, 0, -1) for id_ in window.ids]
        assert [tuple(row) for row in window.spans.tolist()] == places


def test_a_tokenizer_without_a_place_for_two_texts_refuses_them(tmp_path: Path):
    tokenizer = TRAIN["wordpiece"]()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (found,) = FastTokenizer(tmp_path / "tokenizer.json", 20).encode([("a", "b")], "truncate")
    assert isinstance(found, RequestInvalid)


def test_a_lone_surrogate_in_either_text_is_that_pairs_error(tmp_path: Path):
    TRAIN["wordpiece"]().save(str(tmp_path / "tokenizer.json"))
    found = FastTokenizer(tmp_path / "tokenizer.json", 20).encode(
        [("a", "\ud800"), ("\ud800", "a"), ("a", "b"), "c"], "truncate"
    )
    assert [isinstance(each, RequestInvalid) for each in found] == [True, True, False, False]
