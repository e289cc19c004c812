from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.similarity import TASK, combine, expand, spell
from headrace.types import Caller, Embedding, Request, Similarity, Traits


def embedding(*values: float, **fields: Any) -> Embedding:
    return Embedding(values=np.array(values, np.float32), **{"tokens": 3, "truncated": False, **fields})


def request(*inputs: str, query: str | None) -> Request:
    caller = Caller("tester", frozenset())
    return Request(task="similarity", inputs=inputs, caller=caller, request_id="test", deadline=0, query=query)


def test_the_query_is_read_before_the_inputs() -> None:
    assert expand(request("a", "b", query="q"), Traits()) == ("q", "a", "b")
    asked = request("a", "b", query="q")
    assert [TASK.name_text(index, asked) for index in range(3)] == ["query", "inputs[0]", "inputs[1]"]


def test_a_query_may_be_empty_but_not_missing() -> None:
    assert expand(request("a", query=""), Traits())[0] == ""
    with pytest.raises(RequestInvalid, match="query is missing") as caught:
        expand(request("a", query=None), Traits())
    assert caught.value.field == "query"


def test_query_and_inputs_have_prompts_of_their_own() -> None:
    traits = Traits(prompts={"query": "query: ", "passage": "passage: "}, dimensions=8)
    asked = request("a", "b", query="q")
    chosen = Options(prompt="passage", query_prompt="query", dimensions=8)
    assert expand(replace(asked, options=chosen), traits) == ("query: q", "passage: a", "passage: b")
    assert expand(replace(asked, options=Options(query_prompt="query")), traits) == ("query: q", "a", "b")
    with pytest.raises(RequestInvalid, match="it has: passage, query") as caught:
        expand(replace(asked, options=Options(query_prompt="document")), traits)
    assert caught.value.field == "options.query_prompt"


def test_scores_are_cosines_whatever_the_lengths() -> None:
    found = combine(
        [embedding(2, 0), embedding(5, 0), embedding(0, 3, truncated=True), embedding(-1, 0, windows=2)],
        request(query="q"),
    )
    assert [each.score for each in found] == pytest.approx([1, 0, -1])
    assert [(each.tokens, each.truncated, each.windows) for each in found] == [
        (3, False, 1),
        (3, True, 1),
        (3, False, 2),
    ]


def test_a_vector_of_zeros_is_like_nothing() -> None:
    assert [each.score for each in combine([embedding(0, 0), embedding(1, 0)], request(query="q"))] == [0]


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=2, max_size=5))
def test_no_score_is_beyond_one(rows: list[list[float]]) -> None:
    assert all(abs(each.score) <= 1 + 1e-9 for each in combine([embedding(*row) for row in rows], request(query="q")))


def test_it_is_spelled_with_its_score_and_made_of_embeddings() -> None:
    assert spell(Similarity(score=0.5, tokens=1, truncated=False)) == {"score": 0.5}
    assert (TASK.name, TASK.model) == ("similarity", "embed")
