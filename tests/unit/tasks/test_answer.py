from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headrace.options import Options
from headrace.tasks.answer import finish
from headrace.types import Finding, Traits, Window

TEXT = "by the monks of Brook"
# A first token that stands for no answer, the question, and then: by the mon ##ks of Brook, and an end.
SPANS = [[0, 0, -1]] * 3 + [[0, 2, 0], [3, 6, 1], [7, 10, 2], [10, 12, 2], [13, 15, 3], [16, 21, 4]] + [[0, 0, -1]]


def window(starts: dict[int, float], ends: dict[int, float], spans: Any = SPANS) -> Window:
    logits = np.zeros((len(spans), 2), np.float32)
    for column, scores in enumerate((starts, ends)):
        for place, score in scores.items():
            logits[place, column] = score
    return Window(arrays={"token_logits": logits, "spans": np.array(spans, np.int32)}, tokens=len(spans), weight=6)


def answer(*windows: Window, **options: Any) -> Finding:
    return finish(("who", TEXT), windows, False, Options(**options), Traits())


def test_an_answer_is_what_begins_and_ends_most_likely_and_is_of_whole_words() -> None:
    found = answer(window({4: 9}, {5: 9}))
    (best,) = found.answers
    assert (best.text, best.start, best.end) == ("the monks", 3, 12)  # it ended within the word
    share = np.exp(9) / (np.exp(9) + 6)  # of six tokens of the text and the first
    assert best.score == pytest.approx(share**2, abs=1e-6)
    assert found.no_answer == pytest.approx((1 / (np.exp(9) + 6)) ** 2, abs=1e-9)


def test_the_question_and_special_tokens_are_no_answer() -> None:
    found = answer(window({1: 50, 9: 50, 3: 5}, {2: 50, 9: 50, 3: 5}))
    assert [each.text for each in found.answers] == ["by"]


def test_that_there_is_no_answer_is_told_beside() -> None:
    found = answer(window({0: 20, 3: 5}, {0: 20, 3: 5}))
    assert found.no_answer == pytest.approx(1, abs=1e-3)
    assert found.answers[0].score < 1e-6
    assert answer(window({0: 20, 3: 5}, {0: 20, 3: 5}), threshold=0.1).answers == ()


def test_an_answer_ends_not_before_it_begins_and_not_too_far_away() -> None:
    assert answer(window({8: 9, 4: 8}, {4: 9, 8: 7})).answers[0].text == "the"
    assert answer(window({3: 9}, {8: 9, 4: 5}), max_answer_tokens=2).answers[0].text == "by the"


def test_as_many_answers_as_were_asked_for_each_once() -> None:
    found = answer(window({5: 9, 6: 9}, {6: 9, 5: 8, 8: 7}), top_k=2)
    assert [each.text for each in found.answers] == ["monks", "monks of Brook"]
    assert found.answers[0].score > found.answers[1].score


def test_of_several_windows_the_surest_counts() -> None:
    unsure, sure = window({3: 2}, {3: 2}), window({8: 9}, {8: 9})
    found = answer(unsure, sure)
    assert (found.answers[0].text, found.windows, found.tokens) == ("Brook", 2, 20)
    assert found.no_answer == pytest.approx(answer(sure).no_answer)
    assert answer(sure, sure).answers == answer(sure).answers


def test_a_text_without_tokens_has_no_answer() -> None:
    empty = window({}, {}, [[0, 0, -1]] * 4)
    found = finish(("who", ""), [empty], False, Options(), Traits())
    assert (found.answers, found.no_answer) == ((), 1.0)


def test_spaces_around_an_answer_are_no_part_of_it() -> None:
    spans = [[0, 0, -1], [0, 2, 0], [2, 10, 1]]
    (best,) = answer(window({2: 9}, {2: 9}, spans)).answers
    assert (best.text, best.start, best.end) == ("the mon", 3, 10)


def _brute(logits: NDArray[np.float64], spans: Any, most: int) -> tuple[float, tuple[int, int]]:
    """Return the best answer, by looking at every one."""
    open_to = [0, *(place for place, span in enumerate(spans) if span[2] >= 0)]
    powers = np.exp(logits[open_to])
    shares = dict(zip(open_to, powers / powers.sum(axis=0), strict=True))
    own = open_to[1:]
    score, first, last = max((shares[i][0] * shares[j][1], -i, -j) for i in own for j in own if i <= j < i + most)
    words = [tuple(spans[place]) for place in own]
    begin = min(start for start, _, word in words if word == spans[-first][2])
    end = max(end for _, end, word in words if word == spans[-last][2])
    return float(score), (begin, end)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=10, max_size=10), st.integers(1, 8))
def test_the_best_is_that_of_looking_at_every_one(scores: list[tuple[int, int]], most: int) -> None:
    logits = np.array(scores, np.float64) + np.arange(20).reshape(10, 2) * 1e-3  # no two are equal
    made = Window(arrays={"token_logits": logits, "spans": np.array(SPANS, np.int32)}, tokens=len(SPANS), weight=6)
    (best,) = answer(made, max_answer_tokens=most).answers
    score, place = _brute(logits, SPANS, most)
    assert (best.start, best.end) == place
    assert best.score == pytest.approx(score)
