"""The weights of a checkpoint as arrays."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SourceUnsupported
from headrace.models.weights import TensorEntry, read_header
from headrace.types import FloatArray

_INTEGERS: Final = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
_FLOATS: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_tensors(path: Path) -> dict[str, FloatArray]:
    """Return the tensors of a safetensors file by name, as float32; those of whole numbers are no weights.

    Those that are float32 already stay in the file, which is mapped, until they are used.

    Raises:
        SourceInvalid: The file is cut off or changed.
        SourceUnsupported: A tensor has numbers of 8 bits, which mean nothing without a scale.
    """
    tensors, start = read_header(path)
    data = np.memmap(path, np.uint8, mode="r")[start:]
    return {
        tensor.name: _as_float32(path, tensor, data[tensor.start : tensor.stop]).reshape(tensor.shape)
        for tensor in tensors
        if tensor.dtype not in _INTEGERS
    }


def _as_float32(path: Path, tensor: TensorEntry, data: NDArray[np.uint8]) -> FloatArray:
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if tensor.dtype not in _FLOATS:
        raise SourceUnsupported(
            f"{path.name} has {tensor.name!r} as {tensor.dtype}; save it as float32, float16 or bfloat16",
            field=tensor.name,
        )
    return data.view(_FLOATS[tensor.dtype]).astype(np.float32, copy=False)
