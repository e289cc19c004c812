import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.tasks.embed import TASK, finish, pack, unpack
from headrace.types import Embedding, Options

VECTORS = arrays(np.float32, st.integers(1, 64), elements=st.floats(-1e3, 1e3, width=32))


@given(VECTORS, st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_packed_comes_back_to_the_bit(values: np.ndarray, tokens: int, truncated: bool):
    back = unpack(pack(Embedding(values=values, tokens=tokens, truncated=truncated)))
    np.testing.assert_array_equal(back.values, values)
    assert back.values.dtype == np.float32
    assert (back.tokens, back.truncated) == (tokens, truncated)


def test_the_length_is_kept_or_made_one():
    given_arrays = {"embedding": np.array([0.6, 0.8], np.float32), "norm": np.array(5, np.float32)}
    np.testing.assert_allclose(finish(given_arrays, 3, False, Options(normalize=True)).values, [0.6, 0.8])
    raw = finish(given_arrays, 3, True, Options(normalize=False))
    np.testing.assert_allclose(raw.values, [3, 4], rtol=1e-6)
    assert (raw.tokens, raw.truncated, raw.values.dtype) == (3, True, np.dtype(np.float32))


def test_the_task_is_found_by_its_name():
    assert TASK.name == "embed"
