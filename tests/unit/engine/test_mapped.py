from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine.mapped import MappedFile

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, *parts: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(b"".join(parts))
    return path


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_an_array_is_found_wherever_its_bytes_begin(tmp_path: Path):
    array = weights(0, 30, 40)
    for offset in range(5):
        found = MappedFile(write(tmp_path, b"x" * offset, array.tobytes(), b"end")).find(array)
        assert found is not None
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)


def test_arrays_are_found_in_any_order(tmp_path: Path):
    arrays = [weights(seed, 100) for seed in range(3)]
    file = MappedFile(write(tmp_path, *(array.tobytes() for array in arrays)))
    for place in (1, 0, 2, 2):
        found = file.find(arrays[place])
        assert found is not None
        assert np.array_equal(found, arrays[place])


def test_equal_arrays_are_found_twice_and_nan_equals_itself(tmp_path: Path):
    array = np.full(100, np.nan, np.float32)
    file = MappedFile(write(tmp_path, b"x", array.tobytes()))
    assert file.find(array) is not None
    assert file.find(array) is not None


def test_an_array_that_only_begins_as_the_file_does_is_not_found(tmp_path: Path):
    array = weights(0, 1000)
    other = array.copy()
    other[-1] += 1
    file = MappedFile(write(tmp_path, array.tobytes()))
    assert file.find(other) is None
    assert file.find(np.concatenate([array, array])) is None


@SAME_FOLDER
@given(place=st.integers(0, 3999), bit=st.integers(0, 7), kept=st.integers(1, 4000))
def test_from_a_garbled_or_shortened_file_comes_the_same_array_or_none(tmp_path: Path, place: int, bit: int, kept: int):
    array = weights(1, 1000)
    content = bytearray(array.tobytes())
    content[place] ^= 1 << bit
    found = MappedFile(write(tmp_path, bytes(content[:kept]))).find(array)
    assert found is None


def test_what_was_dropped_is_read_again(tmp_path: Path):
    array = weights(0, 5000)
    file = MappedFile(write(tmp_path, array.tobytes()))
    found = file.find(array)
    file.drop()
    assert found is not None
    assert np.array_equal(found, array)


def test_a_view_outlives_the_mapped_file_and_the_name_of_the_file(tmp_path: Path):
    array = weights(0, 5000)
    path = write(tmp_path, array.tobytes())
    file = MappedFile(path)
    found = file.find(array)
    file.drop()
    del file
    path.unlink()
    assert found is not None
    assert np.array_equal(found, array)


def test_what_is_written_to_a_view_does_not_reach_the_file(tmp_path: Path):
    array = weights(0, 5000)
    path = write(tmp_path, array.tobytes())
    found = MappedFile(path).find(array)
    assert found is not None
    found[0] = 1
    assert path.read_bytes() == array.tobytes()


def test_a_file_that_is_missing_cannot_be_mapped(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        MappedFile(tmp_path / "none")
