import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from headrace.errors import SourceUnsupported
from headrace.export.tensors import read_tensors

DTYPES = {"single": torch.float32, "half": torch.float16, "brain": torch.bfloat16, "double": torch.float64}


def saved(tmp_path: Path, tensors: dict[str, tuple[str, NDArray[Any]]], pad: int = 0) -> Path:
    """Write tensors with the given types; ``pad`` bytes of spaces move all data."""
    header, data = {}, b""
    for name, (dtype, values) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": values.shape,
            "data_offsets": [len(data), len(data) + values.nbytes],
        }
        data += values.tobytes()
    head = json.dumps(header).encode() + b" " * pad
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


@pytest.mark.parametrize("pad", range(8))
def test_numbers_of_every_width_are_read_as_float32_wherever_they_lie(tmp_path: Path, pad: int):
    values = np.array([[0.5, -2.0, 3.25], [0.0, 1e-3, -np.inf]], np.float32)
    tensors: dict[str, tuple[str, NDArray[Any]]] = {
        "single": ("F32", values),
        "half": ("F16", values.astype(np.float16)),
        "double": ("F64", values.astype(np.float64)),
        "brain": ("BF16", (values.view(np.uint32) >> 16).astype(np.uint16)),
        "ids": ("I64", np.arange(3)),
        "none": ("F32", np.empty((0, 4), np.float32)),
    }
    found = read_tensors(saved(tmp_path, tensors, pad))
    assert {name: tensor.shape for name, tensor in found.items()} == {
        **dict.fromkeys(("single", "half", "double", "brain"), (2, 3)),
        "none": (0, 4),
    }
    assert {tensor.dtype.name for tensor in found.values()} == {"float32"}
    np.testing.assert_array_equal(found["single"], values)
    np.testing.assert_array_equal(found["double"], values)
    np.testing.assert_array_equal(found["half"], values.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(found["brain"], values, rtol=2**-7)


def test_what_torch_saves_is_what_is_read(tmp_path: Path):
    tensors = {name: torch.randn(3, 5).to(dtype) for name, dtype in DTYPES.items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    found = read_tensors(tmp_path / "model.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy())


def test_numbers_of_eight_bits_are_refused(tmp_path: Path):
    path = saved(tmp_path, {"scaled": ("F8_E4M3", np.zeros(4, np.uint8))})
    with pytest.raises(SourceUnsupported, match="'scaled' as F8_E4M3"):
        read_tensors(path)
