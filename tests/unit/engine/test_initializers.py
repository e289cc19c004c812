import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.support.encoders import random_encoder, write_encoder

from headrace.engine.initializers import ENCODER, _read_model, read_initializers
from headrace.errors import ModelCorrupt


def write(path: Path, *tensors: onnx.TensorProto, notes: dict[str, str] | None = None) -> Path:
    graph = helper.make_graph([], "constants", [], [], tensors)
    model = helper.make_model(graph)
    helper.set_model_props(model, notes or {})
    path.write_bytes(model.SerializeToString())
    return path


def test_every_float_constant_and_every_note_is_read_as_onnx_reads_it(tmp_path: Path):
    path = write_encoder(tmp_path / "model.onnx", random_encoder(has_bias=True))
    model = onnx.load(path)
    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    floats = {name: values for name, values in wanted.items() if values.dtype == np.float32}
    found = read_initializers(path)
    assert found.tensors.keys() == floats.keys()
    assert all(np.array_equal(found.tensors[name], values) for name, values in floats.items())
    assert found.notes == {note.key: note.value for note in model.metadata_props}
    assert set(found.notes) == {ENCODER}


def test_tensors_of_other_types_and_other_layouts_are_passed_over(tmp_path: Path):
    listed = helper.make_tensor("listed", TensorProto.FLOAT, [2], [1.0, 2.0])  # not in one piece of bytes
    path = write(
        tmp_path / "model.onnx",
        numpy_helper.from_array(np.arange(3), "integers"),
        listed,
        numpy_helper.from_array(np.array(3.5, np.float32), "scalar"),
        notes={"ä": "ö"},
    )
    found = read_initializers(path)
    assert {name: values.tolist() for name, values in found.tensors.items()} == {"scalar": 3.5}
    assert found.notes == {"ä": "ö"}


def test_a_file_that_is_cut_off_anywhere_is_refused_or_has_less(tmp_path: Path):
    path = write(tmp_path / "model.onnx", numpy_helper.from_array(np.ones(3, np.float32), "ones"), notes={"a": "b"})
    whole = path.read_bytes()
    refused = 0
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        try:
            found = read_initializers(path)
        except ModelCorrupt:
            refused += 1
        else:
            assert len(found.tensors) + len(found.notes) < 2
    assert refused > len(whole) / 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x0b", "unknown type 3"),
        (b"\xff" * 11, "a number without an end"),
        (b"\x38\x01", "a number stands where a message should be"),
    ],
)
def test_what_is_no_onnx_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match=reason):
        read_initializers(path)


def test_a_tensor_of_another_size_than_its_shape_is_refused(tmp_path: Path):
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "ones")
    tensor.dims[0] = 4
    with pytest.raises(ModelCorrupt, match="has 3 numbers"):
        read_initializers(write(tmp_path / "model.onnx", tensor))


@given(st.binary(max_size=64))
def test_no_bytes_do_anything_else_than_being_refused(content: bytes):
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        _read_model(memoryview(content))
