import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.base import Encoding
from headrace.engine.windows import Body, WindowLayout
from headrace.errors import InputTooLong
from headrace.options import Truncate

LAYOUT = WindowLayout(before=(901, 902), after=(903,), max_tokens=19)  # room for 16, of which 2 are shown again


def windows(layout: WindowLayout, length: int, truncate: Truncate) -> tuple[Encoding, ...]:
    found = layout.lay_out(Body(range(length)), truncate)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("truncate", ["error", "truncate", "chunk"])
@pytest.mark.parametrize("length", [0, 1, 16])
def test_a_text_that_fits_is_one_window_whatever_was_chosen(length: int, truncate: Truncate):
    (window,) = windows(LAYOUT, length, truncate)
    assert list(window.ids) == [901, 902, *range(length), 903]
    assert (window.weight, window.truncated) == (length, False)


def test_a_text_that_is_too_long_is_cut_and_says_so():
    (window,) = windows(LAYOUT, 17, "truncate")
    assert list(window.ids) == [901, 902, *range(16), 903]
    assert (window.weight, window.truncated) == (16, True)


def test_a_text_that_is_too_long_is_refused_with_the_window_and_what_to_do():
    error = LAYOUT.lay_out(Body(range(17)), "error")
    assert isinstance(error, InputTooLong)
    assert "more than 19 tokens" in error.message
    assert "'chunk'" in error.message


def test_windows_begin_with_what_the_window_before_ended_with():
    first, second = windows(LAYOUT, 17, "chunk")
    assert list(first.ids) == [901, 902, *range(16), 903]
    assert list(second.ids) == [901, 902, 14, 15, 16, 903]
    assert (first.weight, second.weight) == (16, 1)


@given(st.integers(1, 40), st.integers(0, 400))
def test_windows_hold_every_token_and_their_weights_count_each_once(room: int, length: int):
    layout = WindowLayout(before=(901,), after=(), max_tokens=room + 1)
    found = windows(layout, length, "chunk")
    fresh = [id_ for window in found for id_ in list(window.ids)[len(window.ids) - window.weight :]]
    assert fresh == list(range(length))
    assert all(len(window.ids) <= layout.max_tokens for window in found)
    assert all(len(window.ids) == layout.max_tokens for window in found[:-1])
    assert all(window.weight > 0 for window in found[1:])
    assert not any(window.truncated for window in found)


@given(st.integers(1, 40), st.integers(0, 400))
def test_every_window_has_the_spans_of_its_tokens(room: int, length: int):
    layout = WindowLayout(before=(901,), after=(902, 903), max_tokens=room + 3)
    spans = np.arange(3 * length, dtype=np.int32).reshape(-1, 3)
    found = layout.lay_out(Body(range(length), spans), "chunk")
    assert isinstance(found, tuple)
    for window in found:
        assert window.spans is not None
        assert window.spans.dtype == np.int32
        expected = [[0, 0, -1] if id_ > 900 else spans[id_].tolist() for id_ in window.ids]
        assert window.spans.tolist() == expected
