import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.options import Options
from headrace.tasks.regress import TASK, finish, pack, spell, unpack
from headrace.types import Regression, Traits, Window

COUNTS = st.integers(0, 2**32 - 1)


def window(value: float, *, weight: int = 1, tokens: int = 3) -> Window:
    return Window(arrays={"logits": np.array([value], np.float32)}, tokens=tokens, weight=weight)


@given(COUNTS, COUNTS, st.booleans(), st.floats(allow_nan=False))
def test_what_is_packed_comes_back_exactly(tokens: int, windows: int, truncated: bool, value: float):
    result = Regression(value=value, tokens=tokens, truncated=truncated, windows=windows)
    assert unpack(pack(result)) == result


def test_the_number_is_the_models_own():
    result = finish("", [window(-7.5, weight=0)], True, Options(), Traits())
    assert (result.value, result.tokens, result.truncated, result.windows) == (-7.5, 3, True, 1)
    assert spell(result) == {"value": -7.5}


def test_of_several_windows_it_is_the_mean_by_their_tokens():
    result = finish("", [window(1, weight=3), window(5, weight=1, tokens=9)], False, Options(), Traits())
    assert result.value == pytest.approx(2)
    assert (result.tokens, result.windows) == (12, 2)


def test_the_task_is_called_by_its_name():
    assert TASK.name == "regress"
