import math
from typing import Any

import numpy as np
import pytest

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.base import pair_with_query as expand
from headrace.tasks.rerank import TASK, combine, finish, pack, spell, unpack
from headrace.types import Caller, Ranking, Request, Traits, Window

SIGMOID, IDENTITY = Traits(function="sigmoid"), Traits(function="identity")


def window(score: float, tokens: int = 5) -> Window:
    return Window(arrays={"logits": np.array([score], np.float32)}, tokens=tokens, weight=3)


def request(*inputs: str, query: str | None = "q", **options: Any) -> Request:
    caller = Caller("tester", frozenset())
    chosen = Options(**options)
    return Request(
        task="rerank", inputs=inputs, caller=caller, request_id="test", deadline=0, query=query, options=chosen
    )


def ranking(score: float, index: int = 0) -> Ranking:
    return Ranking(score=score, index=index, tokens=1, truncated=False)


def test_each_input_is_read_with_the_query() -> None:
    assert expand(request("a", "b", query="q"), Traits()) == (("q", "a"), ("q", "b"))
    assert [TASK.name_text(index, request("a", "b", query="q")) for index in range(2)] == ["inputs[0]", "inputs[1]"]
    with pytest.raises(RequestInvalid, match="query is missing"):
        expand(request("a", query=None), Traits())


@pytest.mark.parametrize("score", [-1000.0, -2.0, 0.0, 3.5, 1000.0])
def test_a_score_goes_through_what_the_model_was_trained_with(score: float) -> None:
    expected = 1 / (1 + math.exp(-score)) if score > -700 else 0
    assert finish(("q", "a"), [window(score)], False, Options(), SIGMOID).score == pytest.approx(expected)
    assert finish(("q", "a"), [window(score)], False, Options(raw=True), SIGMOID).score == score
    assert finish(("q", "a"), [window(score)], True, Options(), IDENTITY) == Ranking(
        score=score, tokens=5, truncated=True
    )


def test_of_several_windows_the_best_counts() -> None:
    found = finish(("q", "a"), [window(-1), window(2, 7), window(1)], False, Options(), IDENTITY)
    assert found == Ranking(score=2, tokens=17, truncated=False, windows=3)


def test_the_best_comes_first_with_its_place_among_the_inputs() -> None:
    found = combine([ranking(0.5), ranking(0.9), ranking(0.1), ranking(0.9)], request())
    assert [(each.index, each.score) for each in found] == [(1, 0.9), (3, 0.9), (0, 0.5), (2, 0.1)]
    assert [each.index for each in combine([ranking(1), ranking(2), ranking(3)], request(top_k=2))] == [2, 1]
    assert combine([], request(top_k=2)) == ()


def test_what_is_packed_comes_back_without_its_place() -> None:
    assert unpack(pack(ranking(0.1, index=3))) == ranking(0.1)
    assert spell(ranking(0.5, index=3)) == {"index": 3, "score": 0.5}
    assert (TASK.name, TASK.model) == ("rerank", "rerank")
