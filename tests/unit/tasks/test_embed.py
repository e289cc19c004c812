from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.embed import TASK, expand, finish, pack, pack_signs, unpack
from headrace.types import Caller, Embedding, Request, Traits, Window

VECTORS = arrays(np.float32, st.integers(1, 64), elements=st.floats(-1e3, 1e3, width=32))
UNIT, RAW = Options(normalize=True), Options(normalize=False)
TRAITS = Traits()


def window(vector: list[float], *, weight: int = 1, tokens: int = 3) -> Window:
    """Return what a graph gives for a vector before it is scaled."""
    norm = np.linalg.norm(vector)
    found = {"embedding": (np.array(vector) / norm).astype(np.float32), "norm": np.array(norm, np.float32)}
    return Window(arrays=found, tokens=tokens, weight=weight)


@given(VECTORS, st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1), st.booleans())
def test_what_is_packed_comes_back_to_the_bit(values: np.ndarray, tokens: int, windows: int, truncated: bool):
    back = unpack(pack(Embedding(values=values, tokens=tokens, truncated=truncated, windows=windows)))
    np.testing.assert_array_equal(back.values, values)
    assert back.values.dtype == np.float32
    assert (back.tokens, back.truncated, back.windows) == (tokens, truncated, windows)


def test_the_length_is_kept_or_made_one():
    windows = [window([3, 4], weight=0)]
    np.testing.assert_allclose(finish("", windows, False, UNIT, TRAITS).values, [0.6, 0.8])
    raw = finish("", windows, True, RAW, TRAITS)
    np.testing.assert_allclose(raw.values, [3, 4], rtol=1e-6)
    assert (raw.tokens, raw.truncated, raw.windows, raw.values.dtype) == (3, True, 1, np.dtype(np.float32))


def test_windows_are_pooled_by_their_tokens_and_as_long_as_the_model_made_them():
    windows = [window([3, 4], weight=6, tokens=8), window([10, 0], weight=2, tokens=5)]
    raw = finish("", windows, False, RAW, TRAITS)
    np.testing.assert_allclose(raw.values, [(6 * 3 + 2 * 10) / 8, 6 * 4 / 8], rtol=1e-6)
    assert (raw.tokens, raw.truncated, raw.windows, raw.values.dtype) == (13, False, 2, np.dtype(np.float32))
    unit = finish("", windows, False, UNIT, TRAITS)
    np.testing.assert_allclose(unit.values, raw.values / np.linalg.norm(raw.values), rtol=1e-6)


def test_of_an_embedding_the_first_numbers_may_be_kept():
    long, short = window([3, 4, 12], weight=1), window([6, -4, 5], weight=1)
    for windows, kept in (([long], [3, 4]), ([long, short], [4.5, 0])):
        raw = finish("", windows, False, Options(normalize=False, dimensions=2), TRAITS).values
        np.testing.assert_allclose(raw, kept, rtol=1e-6, atol=1e-6)
        unit = finish("", windows, False, Options(normalize=True, dimensions=2), TRAITS).values
        np.testing.assert_allclose(unit, np.array(kept) / np.linalg.norm(kept), rtol=1e-6, atol=1e-6)
        assert unit.dtype == np.float32
    nothing = finish("", [window([0, 0, 1])], False, Options(normalize=True, dimensions=2), TRAITS).values
    np.testing.assert_array_equal(nothing, [0, 0])


def request(*inputs: str, **options: Any) -> Request:
    caller, chosen = Caller("tester", frozenset()), Options(**options)
    return Request(task="embed", inputs=inputs, caller=caller, request_id="test", deadline=0, options=chosen)


PROMPTED = Traits(prompts={"query": "query: ", "passage": "passage: "}, dimensions=3)


def test_a_prompt_of_the_model_is_put_before_each_text():
    assert expand(request("a", "", prompt="query"), PROMPTED) == ("query: a", "query: ")
    assert expand(request("a", dimensions=3), PROMPTED) == ("a",)


@pytest.mark.parametrize(
    ("prompts", "purpose", "before"),
    [
        (["query", "passage"], "query", "query"),
        (["query", "passage"], "document", "passage"),
        (["query", "passage"], "clustering", ""),
        (["search_query", "search_document", "clustering"], "document", "search_document"),
        (["search_query", "search_document", "clustering"], "clustering", "clustering"),
        (["retrieval.query", "retrieval.passage"], "query", "retrieval.query"),
        (["document", "passage"], "document", "document"),
        (["Classification", "Clustering"], "classification", "Classification"),
        ([], "query", ""),
    ],
)
def test_what_a_text_is_for_chooses_the_prompt_of_a_fitting_name(prompts: list[str], purpose: Any, before: str):
    traits = Traits(prompts={name: name for name in prompts})
    assert expand(request("", purpose=purpose), traits) == (before,)


def test_a_prompt_that_is_named_counts_before_what_a_text_is_for():
    assert expand(request("a", prompt="passage", purpose="query"), PROMPTED) == ("passage: a",)


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        ([1] * 8, [255]),
        ([-1] * 8, [0]),
        ([0, 1, -1, 2, 0, 0, 0, 1], [0b01010001]),
        ([1, -1, 1], [0b10100000]),
        ([], []),
    ],
)
def test_signs_are_packed_from_the_highest_bit_on(values: list[float], packed: list[int]):
    assert pack_signs(np.array(values, np.float32)) == packed


@pytest.mark.parametrize(
    ("traits", "options", "field", "message"),
    [
        (PROMPTED, {"prompt": "document"}, "options.prompt", "no prompt 'document'; it has: passage, query"),
        (TRAITS, {"prompt": "query"}, "options.prompt", "it has: none"),
        (PROMPTED, {"prompt": ""}, "options.prompt", "no prompt ''"),
        (PROMPTED, {"dimensions": 4}, "options.dimensions", "gives 3 dimensions, and 4"),
        (PROMPTED, {"dimensions": 0}, "options.dimensions", "0 cannot be taken"),
        (PROMPTED, {"dimensions": -1}, "options.dimensions", "-1 cannot be taken"),
    ],
)
def test_what_the_model_has_not_is_refused(traits: Traits, options: dict[str, Any], field: str, message: str):
    with pytest.raises(RequestInvalid, match=message) as caught:
        expand(request("a", **options), traits)
    assert caught.value.field == field


@pytest.mark.parametrize("options", [UNIT, RAW])
def test_windows_that_cancel_each_other_out_are_a_zero_and_no_error(options: Options):
    merged = finish("", [window([1, 0]), window([-1, 0])], False, options, TRAITS)
    np.testing.assert_array_equal(merged.values, [0, 0])


def test_the_task_is_found_by_its_name():
    assert TASK.name == "embed"
