"""Weight files: which are safe to read, whether one is whole, and what is in it.

Only safetensors is read: a pickle runs code when it is opened. The header of a safetensors file says where each
tensor lies; a file cut off or changed there is found in milliseconds, before anything is read.
Format: https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.types import FloatArray

WEIGHTS: Final = "model.safetensors"
SHARDS: Final = "model.safetensors.index.json"
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5"})

_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000  # the format's own limit
_ITEM_BYTES: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_INTEGERS: Final = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
_FLOATS: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def require_weights(names: Collection[str]) -> None:
    """Look at a checkpoint's file names and refuse all but one safetensors file.

    A pickle that lies beside it is let be: it is never read.

    Raises:
        SourceUnsafe: There are only pickles; the message says how to convert them.
        SourceUnsupported: The weights are in several files.
        SourceInvalid: There are no weights.
    """
    if WEIGHTS in names:
        return
    if SHARDS in names:
        raise SourceUnsupported(f"{SHARDS} splits the weights into several files; save them as one {WEIGHTS}")
    pickle = _first_pickle(names)
    if pickle is not None:
        raise SourceUnsafe(
            f"{pickle!r} is a pickle, which runs code when it is opened, and there is no {WEIGHTS}; where you trust"
            ' the file, convert it with: python -c "from transformers import AutoModel;'
            " AutoModel.from_pretrained('FOLDER').save_pretrained('FOLDER')\"",
            field=pickle,
        )
    raise SourceInvalid(f"{WEIGHTS} is missing; a checkpoint needs it", field=WEIGHTS)


def _first_pickle(names: Iterable[str]) -> str | None:
    top = (name for name in sorted(names) if "/" not in name)
    return next((name for name in top if PurePosixPath(name).suffix in PICKLES), None)


def check_header(path: Path) -> None:
    """Check that a safetensors file is as long as its header says, and that its tensors fill it.

    Raises:
        SourceInvalid: It is cut off or changed; the message names the file.
    """
    _read_header(path)


def read_tensors(path: Path) -> dict[str, FloatArray]:
    """Return the tensors of floating-point numbers by name, as float32; those of whole numbers are no weights.

    Those that are float32 already stay in the file, which is mapped, until they are used.

    Raises:
        SourceInvalid: The file is cut off or changed.
        SourceUnsupported: A tensor has numbers of 8 bits, which mean nothing without a scale.
    """
    tensors, start = _read_header(path)
    data = np.memmap(path, np.uint8, mode="r")[start:]
    return {
        tensor.name: _as_float32(path, tensor, data[tensor.start : tensor.stop]).reshape(tensor.shape)
        for tensor in tensors
        if tensor.dtype not in _INTEGERS
    }


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An entry of the header; ``start`` and ``stop`` are bytes of what follows it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def _as_float32(path: Path, tensor: _Tensor, data: NDArray[np.uint8]) -> FloatArray:
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if tensor.dtype not in _FLOATS:
        raise SourceUnsupported(
            f"{path.name} has {tensor.name!r} as {tensor.dtype}; save it as float32, float16 or bfloat16",
            field=tensor.name,
        )
    return data.view(_FLOATS[tensor.dtype]).astype(np.float32, copy=False)


def _read_header(path: Path) -> tuple[list[_Tensor], int]:
    """Return the tensors in the order of their places, and where the data begins.

    They must lie one after the other, from the first byte to the last, as the format demands.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH_BYTES else size
        if length > min(size - _LENGTH_BYTES, _MAX_HEADER_BYTES):
            raise _broken(path, "its header is longer than the file")
        data = file.read(length)
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _broken(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is no JSON object")
    header.pop("__metadata__", None)
    tensors = sorted((_entry(path, *item) for item in header.items()), key=lambda tensor: (tensor.start, tensor.stop))
    end = 0
    for tensor in tensors:
        if tensor.start != end:
            raise _broken(path, f"byte {end} of its data belongs to no tensor or to two")
        end = tensor.stop
    held = size - _LENGTH_BYTES - length
    if not tensors or end != held:
        raise _broken(path, f"its tensors take {end} bytes and the file holds {held}")
    return tensors, _LENGTH_BYTES + length


def _entry(path: Path, name: str, fields: Any) -> _Tensor:
    try:
        start, stop = (_whole(offset) for offset in fields["data_offsets"])
        shape = tuple(_whole(axis) for axis in fields["shape"])
        size = math.prod(shape) * _ITEM_BYTES[fields["dtype"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the entry of tensor {name[:80]!r} cannot be read") from error
    if stop - start != size:
        raise _broken(path, f"tensor {name[:80]!r} has {stop - start} bytes instead of {size}")
    return _Tensor(name, fields["dtype"], shape, start, stop)


def _whole(number: Any) -> int:
    if type(number) is not int or number < 0:  # a bool is an int to isinstance
        raise ValueError(f"{number!r} is no size")
    return number


def _broken(path: Path, what: str) -> SourceInvalid:
    return SourceInvalid(f"{path.name} is cut off or changed: {what}; download it again", field=path.name)
