import numpy as np
import pytest
from bench.quality import Labelled, Search, is_lost, table

CHOOSER = np.random.default_rng(0)


def test_a_question_is_a_hit_if_its_own_answer_is_the_nearest() -> None:
    search = Search(("q0", "q1", "q2"), ("a0", "a1", "a2"))
    answers = np.eye(3, dtype=np.float32)
    assert search.texts == ("q0", "q1", "q2", "a0", "a1", "a2")
    assert search.hits(np.vstack([answers[[0, 2, 2]], answers])).tolist() == [True, False, True]


def test_labels_that_the_vectors_tell_are_found_and_others_are_guessed() -> None:
    vectors = CHOOSER.normal(size=(600, 8)).astype(np.float32)
    told = Labelled(("t",) * 600, tuple("a" if row[0] > 0 else "b" for row in vectors))
    guessed = Labelled(("t",) * 600, tuple(CHOOSER.permutation(["a", "b"] * 300)))
    assert told.hits(vectors).mean() > 0.95
    assert 0.4 < guessed.hits(vectors).mean() < 0.6


@pytest.mark.parametrize(("wrong", "expected"), [(0, False), (4, False), (5, True)])
def test_a_precision_may_lose_half_a_percent_of_what_is_right(wrong: int, expected: bool) -> None:
    right = np.arange(1000) < 900
    hits = {"fp32": right, "bf16": right, "int8": right & (np.arange(1000) >= wrong)}
    assert is_lost(hits, "int8") is expected
    assert not is_lost(hits, "bf16")


def test_the_table_says_what_changed() -> None:
    base = np.array([True, True, False, False])
    lines = table({"search": {"fp32": base, "bf16": base, "int8": np.array([True, False, True, False])}})
    assert lines[-1] == "| search | 4 | 0.5000 | 0.5000 | 0.5000 | 0 better, 0 worse | 1 better, 1 worse |"
