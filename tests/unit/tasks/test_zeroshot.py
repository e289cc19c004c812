import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.zeroshot import TASK, combine, expand, finish, name_text
from headrace.types import Caller, Entailment, Request, Traits, Window

NLI = Traits(labels=("contradiction", "neutral", "entailment"))


def request(*inputs: str, labels: Sequence[str] = ("a", "b"), **options: Any) -> Request:
    return Request(
        task="zeroshot",
        inputs=inputs,
        labels=tuple(labels),
        caller=Caller("tester", frozenset()),
        request_id="test",
        deadline=0,
        options=Options(**options),
    )


def window(*scores: float) -> Window:
    return Window(arrays={"logits": np.array(scores, np.float32)}, tokens=5, weight=3)


def scored(entailment: float, contradiction: float = 0.0, **fields: Any) -> Entailment:
    counts = {"tokens": 5, "truncated": False, **fields}
    return Entailment(entailment=entailment, contradiction=contradiction, **counts)


def test_each_input_is_read_with_a_sentence_of_each_label() -> None:
    asked = request("one", "two", labels=("a", "b"), template="About {}!")
    assert expand(asked, NLI) == (("one", "About a!"), ("one", "About b!"), ("two", "About a!"), ("two", "About b!"))
    assert [name_text(index, asked) for index in range(4)] == ["inputs[0]", "inputs[0]", "inputs[1]", "inputs[1]"]
    assert expand(request("one", labels=["{0.__class__}"]), NLI) == (("one", "This example is {0.__class__}."),)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"labels": ()}, "labels"),
        ({"labels": ("a", " ")}, "labels[1]"),
        ({"labels": ("a", "b", "a")}, "labels[2]"),
        ({"template": "no place"}, "options.template"),
        ({"template": "{} and {}"}, "options.template"),
        ({"template": "{}" + "x" * 1000}, "options.template"),
    ],
)
def test_what_makes_no_sentences_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        expand(request("one", **asked), NLI)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("contradiction", "neutral", "entailment"), (3, 1)),
        (("ENTAILMENT", "neutral", "contradiction"), (1, 3)),
        (("neutral", "entailment", "contradiction"), (2, 3)),
        (("entailment", "not_entailment"), (1, 2)),
        (("no", "entails"), (2, 1)),
        (("x", "y", "entailment"), (3, 1)),
    ],
)
def test_the_two_scores_are_found_by_the_names_of_the_labels(labels: tuple[str, ...], expected: Any) -> None:
    scores = range(1, len(labels) + 1)
    found = finish(("a", "b"), [window(*scores)], False, Options(), Traits(labels=labels))
    assert (found.entailment, found.contradiction) == expected


def test_of_several_windows_the_surest_counts() -> None:
    windows = [window(0, 9, 1), window(3, 0, 7), window(5, 0, 8)]
    found = finish(("a", "b"), windows, False, Options(), NLI)
    assert found == Entailment(entailment=7, contradiction=3, tokens=15, truncated=False, windows=3)


def test_one_label_among_all_is_by_what_follows_most() -> None:
    results = [scored(1), scored(3, truncated=True, windows=2), scored(0), scored(0)]
    first, second = combine(results, request("one", "two"))
    assert [label.name for label in first.labels] == ["b", "a"]
    assert first.labels[0].score == pytest.approx(1 / (1 + math.exp(-2)))
    assert (first.tokens, first.truncated, first.windows) == (10, True, 2)
    assert [(label.name, label.score) for label in second.labels] == [("a", 0.5), ("b", 0.5)]
    assert not second.truncated


def test_labels_by_themselves_are_held_against_their_contradiction() -> None:
    (found,) = combine([scored(1, 2), scored(3, 0)], request("one", multi_label=True))
    assert [label.score for label in found.labels] == pytest.approx([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(1))])
    (alone,) = combine([scored(1, 2)], request("one", labels=["a"]))  # among one, it would always be sure
    assert alone.labels[0].score == pytest.approx(1 / (1 + math.exp(1)))


def test_as_many_labels_as_were_asked_for() -> None:
    asked: dict[str, Any] = {"labels": ("a", "b", "c"), "multi_label": True}
    results = [scored(1), scored(-1), scored(2)]
    (best,) = combine(results, request("one", **asked, top_k=1))
    assert [label.name for label in best.labels] == ["c"]
    (sure,) = combine(results, request("one", **asked, threshold=0.5))
    assert [label.name for label in sure.labels] == ["c", "a"]
    assert TASK.spell(sure) == {"labels": [{"label": each.name, "score": each.score} for each in sure.labels]}
