from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.models.handmade import safetensors_bytes

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.weights import PICKLES, find_weights, read_header


def check(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    read_header(path)


def tensor(start: Any = 0, stop: Any = 8, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_a_whole_file_passes(tmp_path: Path):
    check(tmp_path, safetensors_bytes())


@pytest.mark.parametrize("length", range(len(safetensors_bytes())))
def test_a_file_cut_off_anywhere_is_refused_by_name(tmp_path: Path, length: int):
    with pytest.raises(SourceInvalid, match=r"model\.safetensors is cut off or changed"):
        check(tmp_path, safetensors_bytes()[:length])


def test_a_file_with_bytes_after_its_tensors_is_refused(tmp_path: Path):
    with pytest.raises(SourceInvalid, match="the file holds 33"):
        check(tmp_path, safetensors_bytes() + b"\0")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "take 0 bytes"),
        ({"a": tensor(stop=16)}, "has 16 bytes instead of 8"),
        ({"a": tensor(0, 8), "b": tensor(16, 24)}, "byte 8"),
        ({"a": tensor(0, 8), "b": tensor(0, 8)}, "byte 8"),
        ({"a": tensor(8, 16)}, "byte 0"),
        ({"a": tensor(8, 0)}, "instead of 8"),
        ({"a": tensor(-8, 0)}, "cannot be read"),
        ({"a": tensor(0, True)}, "cannot be read"),
        ({"a": tensor(0, 8.0)}, "cannot be read"),
        ({"a": tensor(shape=[-2])}, "cannot be read"),
        ({"a": tensor(shape=2)}, "cannot be read"),
        ({"a": tensor(dtype="X4")}, "cannot be read"),
        ({"a": tensor(dtype=[])}, "cannot be read"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}, "cannot be read"),
        ({"a": None}, "cannot be read"),
        ({"a": {}}, "cannot be read"),
    ],
)
def test_a_header_whose_tensors_do_not_fill_the_file_is_refused(tmp_path: Path, header: dict[str, Any], message: str):
    with pytest.raises(SourceInvalid, match=message):
        check(tmp_path, safetensors_bytes(header))


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"{", b"\xff\xff", b"[" * 100_000])
def test_a_header_that_is_no_object_is_refused(tmp_path: Path, text: bytes):
    with pytest.raises(SourceInvalid, match="header"):
        check(tmp_path, len(text).to_bytes(8, "little") + text)


@given(place=st.integers(0, 7), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_length_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int):
    broken = bytearray(safetensors_bytes())
    broken[place] ^= 1 << bit
    with pytest.raises(SourceInvalid):
        check(tmp_path_factory.mktemp("weights"), bytes(broken))


@given(st.binary(max_size=64))
def test_no_bytes_at_all_raise_anything_but_a_named_error(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    with pytest.raises(SourceInvalid):
        check(tmp_path_factory.mktemp("weights"), content)


def test_a_pickle_beside_safetensors_is_let_be():
    find_weights(["model.safetensors", "pytorch_model.bin"])


@pytest.mark.parametrize("suffix", sorted(PICKLES))
def test_a_pickle_instead_of_safetensors_is_named_with_the_way_to_convert_it(suffix: str):
    with pytest.raises(SourceUnsafe, match="save_pretrained") as caught:
        find_weights(["config.json", f"weights{suffix}"])
    assert f"'weights{suffix}'" in caught.value.message
    assert caught.value.field == f"weights{suffix}"


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["model.safetensors", "onnx/model.onnx"], "model.safetensors"),
        (["onnx/model.onnx", "onnx/model_q4.onnx", "model.onnx"], "onnx/model.onnx"),
        (["model.onnx", "onnx/model_q4.onnx"], "model.onnx"),
        (["onnx/model_q4.onnx", "pytorch_model.bin", "model.safetensors.index.json"], "onnx/model_q4.onnx"),
    ],
)
def test_a_graph_stands_in_for_weights(names: list[str], weights: str):
    assert find_weights(names) == weights


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.onnx", "b.onnx"], SourceUnsupported),
        (["deep/onnx/model.onnx"], SourceInvalid),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model.bin"], SourceUnsupported),
        (["config.json"], SourceInvalid),
        (["onnx/model.bin"], SourceInvalid),
        ([], SourceInvalid),
    ],
)
def test_other_weights_are_refused(names: list[str], kind: type[ModelError]):
    with pytest.raises(kind):
        find_weights(names)
