import random
from pathlib import Path

import pytest

from headrace.errors import DataInvalid, DataUnfit
from headrace.training.examples import Example, describe_balance, hold_out, require_texts, unique, without

PATH = Path("data.csv")


def examples(count: int) -> list[Example[str]]:
    return [Example(f"text {number}", "ab"[number % 2], number + 2) for number in range(count)]


def test_texts_without_content_are_refused_with_their_lines():
    with pytest.raises(DataInvalid, match=r"data.csv: lines 3, 4 have no text"):
        require_texts([Example("a", "x", 2), Example(" \n", "x", 3), Example(("a", ""), "x", 4)], PATH)
    with pytest.raises(DataInvalid, match=r"line 2 has no text; fill in or remove it"):
        require_texts([Example("", "x", 2)], PATH)


def test_a_text_that_is_repeated_is_kept_once():
    kept, told = unique([Example("A mill", "x", 2), Example("a  MILL ", "x", 3), Example("race", "y", 4)], PATH)
    assert [example.line for example in kept] == [2, 4]
    assert told == ["data.csv: 1 rows repeat a text with the same target; each text is used once"]


def test_a_text_with_several_targets_is_left_out():
    rows = [Example("mill", "x", 2), Example("mill", "y", 3), Example("mill", "x", 4), Example("race", "y", 5)]
    kept, told = unique(rows, PATH)
    assert [example.line for example in kept] == [5]
    assert told == ["data.csv: lines 2, 3, 4 have a text that other rows have with another target; left out"]


def test_many_lines_are_counted():
    torn = [Example("mill", str(number), number) for number in range(2, 12)]
    assert "lines 2, 3, 4, 5, 6, ... (10 of them) have" in unique(torn, PATH)[1][0]


def test_pairs_differ_in_either_part():
    rows = [Example(("a", "b"), 1, 2), Example(("a b", ""), 1, 3), Example(("a", "c"), 1, 4)]
    assert len(unique(rows, PATH)[0]) == 3


def test_what_is_held_out_is_not_learned():
    rows = examples(10)
    assert [example.line for example in without(rows, [Example("TEXT 3", "z", 99)])] == [2, 3, 4, *range(6, 12)]


def test_a_share_of_each_group_is_held_out():
    split = hold_out(examples(40), 0.25, 7, lambda example: example.target)
    assert sorted(example.target for example in split.held_out) == ["a"] * 5 + ["b"] * 5
    assert {example.line for example in split.train}.isdisjoint(example.line for example in split.held_out)
    assert len(split.train) == 30


def test_texts_and_seed_decide_what_is_held_out_and_the_order_does_not():
    rows = examples(40)
    shuffled = random.Random(3).sample(rows, len(rows))
    assert set(hold_out(rows, 0.2, 7).held_out) == set(hold_out(shuffled, 0.2, 7).held_out)
    assert set(hold_out(rows, 0.2, 7).held_out) != set(hold_out(rows, 0.2, 8).held_out)


def test_too_few_to_hold_any_out_are_refused():
    with pytest.raises(DataUnfit, match="3 examples are too few"):
        hold_out(examples(3), 0.1, 0)


def test_the_balance_names_the_most_frequent_first():
    rows = [Example("", label, 0) for label in "abbbcc"]
    assert describe_balance(rows, iter) == "b 3, c 2, a 1"
    assert describe_balance([Example("", chr(97 + n), 0) for n in range(15)], iter).endswith("l 1 and 3 more")
