from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headrace.optimize.questions import Choices, Classes, Entities, Readings, Searches, choices_among
from headrace.types import Classification, Entity, Extraction, Label, Ranking, Regression

A, B = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


class FakeModel:
    """Answers from a table, whatever is asked besides."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.options: dict[str, Any] = {}

    def embed(self, texts: Sequence[str], **options: Any) -> Any:
        self.options = options
        return np.stack([self.answers[text] for text in texts])

    def classify(self, texts: Sequence[str], **options: Any) -> Any:
        self.options = options
        return [
            _result(Classification, labels=tuple(Label(name, 1.0) for name in self.answers[text])) for text in texts
        ]

    def extract(self, texts: Sequence[str], **options: Any) -> Any:
        self.options = options
        return [
            _result(
                Extraction,
                entities=(Entity("P", 1.0, start=self.answers[text][0], end=self.answers[text][1], text=""),),
            )
            for text in texts
        ]

    def regress(self, texts: Sequence[str], **options: Any) -> Any:
        return [_result(Regression, value=self.answers[text]) for text in texts]

    def rerank(self, texts: Sequence[str], query: str, **options: Any) -> Any:
        ranked = [_result(Ranking, index=index, score=self.answers[text]) for index, text in enumerate(texts)]
        return sorted(ranked, key=lambda one: -one.score)


def _result(kind: type, **fields: Any) -> Any:
    return kind(tokens=1, truncated=False, **fields)


def ask(questions: Any, answers: dict[str, Any]) -> Any:
    return questions.ask(FakeModel(answers))


def test_a_search_is_right_if_the_own_passage_is_nearest():
    asked = Searches(("q1", "q2"), ("p1", "p2"))
    assert asked.metric == "recall@1"
    right = ask(asked, {"q1": A, "q2": B, "p1": A, "p2": B})
    wrong = ask(asked, {"q1": A, "q2": A, "p1": A, "p2": B})
    assert (asked.score(right), asked.score(wrong)) == (1.0, 0.5)
    assert asked.agree(right, right) == 1.0
    assert asked.agree(right, wrong) == 0.0  # the worst of all texts counts
    assert len(asked.first(1)) == 1
    assert asked.first(1).texts == ("q1", "p1")


def test_texts_without_passages_have_no_figure_of_their_own():
    assert Searches(("a", "a", "b")).metric is None
    assert Searches(("a", "a", "b")).texts == ("a", "b")
    assert Classes(("a",)).metric is Entities(("a",)).metric is Readings(("a",)).metric is None


def test_labels_are_right_if_all_of_a_text_are():
    asked = Classes(("a", "b"), (frozenset("x"), frozenset("xy")), threshold=0.5)
    model = FakeModel({"a": "x", "b": "x"})
    answers = asked.ask(model)  # type: ignore[arg-type]
    assert model.options == {"top_k": None, "threshold": 0.5, "truncate": "truncate"}
    assert asked.score(answers) == 0.5
    assert asked.agree([frozenset("x"), frozenset("x")], answers) == 1.0
    single = FakeModel({"a": "x", "b": "y"})
    Classes(("a", "b")).ask(single)  # type: ignore[arg-type]
    assert single.options["top_k"] == 1


def test_spans_are_compared_by_place_and_label():
    asked = Entities(("a", "b"), ({(0, 1, "P")}, {(0, 2, "P")}))
    answers = ask(asked, {"a": (0, 1), "b": (0, 1)})
    assert asked.score(answers) == pytest.approx(0.5)
    assert asked.agree(answers, answers) == 1.0
    assert asked.agree([set(), set()], [set(), set()]) == 1.0  # nothing was found in either


def test_numbers_are_compared_by_rank():
    asked = Readings(("a", "b", "c"), (1.0, 2.0, 3.0))
    answers = ask(asked, {"a": 10.0, "b": 20.0, "c": 21.0})
    assert asked.score(answers) == pytest.approx(1.0)
    assert asked.agree(answers, answers[::-1]) == pytest.approx(-1.0)


def test_a_choice_is_right_if_its_first_passage_wins_alone():
    asked = Choices(("q", "r"), (("p1", "p2"), ("p2", "p1")), has_truth=True)
    answers = ask(asked, {"p1": 0.9, "p2": 0.1})
    assert answers == [[0.9, 0.1], [0.1, 0.9]]
    assert asked.score(answers) == 0.5
    assert asked.score([[0.5, 0.5], [0.5, 0.4]]) == 0.5  # a tie is no win
    assert asked.agree(answers, answers) == pytest.approx(1.0)


def test_passages_of_other_queries_stand_beside_the_right_one():
    asked = choices_among(["q1", "q2", "q3"], ["p1", "p2", "p1"], has_truth=True)
    assert asked.passages == (("p1", "p2"), ("p2", "p1"), ("p1", "p2"))
    assert asked.metric == "recall@1"
    assert asked.texts == ("q1", "q2", "q3", "p1", "p2")
