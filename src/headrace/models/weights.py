"""Weight files: which are safe to read, and whether one is whole, told without loading it.

Only safetensors is read: a pickle runs code when it is opened. The header of a safetensors file says where each
tensor lies; a file cut off or changed there is found here, in milliseconds.
Format: https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
import re
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported

WEIGHTS: Final = "model.safetensors"
GRAPHS: Final = ("onnx/model.onnx", "model.onnx")
"""Where a checkpoint that carries a graph has it, the usual place first."""
GRAPH_DATA: Final = ("_data", ".data")
"""What is added to a graph's name for the file that holds its weights, if it does not hold them itself."""
SHARDS: Final = "model.safetensors.index.json"
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5"})

_GRAPH: Final = re.compile(r"(onnx/)?[^/]+\.onnx")
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000  # the format's own limit
_ITEM_BYTES: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def find_weights(names: Collection[str]) -> str:
    """Look at a checkpoint's file names, and return the one that holds its weights.

    That is a safetensors file, or if there is none, an ONNX graph. A pickle that lies beside it is let be: it is never
    read.

    Raises:
        SourceUnsafe: There are only pickles; the message says how to convert them.
        SourceUnsupported: The weights are in several files, or there are several graphs and none has the usual name.
        SourceInvalid: There are no weights.
    """
    if WEIGHTS in names:
        return WEIGHTS
    graphs = sorted(name for name in names if _GRAPH.fullmatch(name))
    usual = [name for name in GRAPHS if name in graphs]
    if usual or len(graphs) == 1:
        return (usual or graphs)[0]
    if graphs:
        raise SourceUnsupported(
            f"there are {len(graphs)} graphs ({', '.join(graphs)[:200]}) and no {WEIGHTS}; keep one, or call one"
            f" {GRAPHS[0]}",
            field=graphs[0],
        )
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
    raise SourceInvalid(f"{WEIGHTS} is missing, and so is {GRAPHS[0]}; a checkpoint needs one", field=WEIGHTS)


def _first_pickle(names: Iterable[str]) -> str | None:
    top = (name for name in sorted(names) if "/" not in name)
    return next((name for name in top if PurePosixPath(name).suffix in PICKLES), None)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor as a header describes it; ``start`` and ``stop`` are its bytes in the data after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> tuple[list[TensorEntry], int]:
    """Return a safetensors file's tensors in the order of their places, and where the data begins.

    They must lie one after the other, from the first byte to the last, as the format demands.

    Raises:
        SourceInvalid: The file is cut off or changed; the message names it.
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


def _entry(path: Path, name: str, fields: Any) -> TensorEntry:
    try:
        start, stop = (_whole(offset) for offset in fields["data_offsets"])
        shape = tuple(_whole(axis) for axis in fields["shape"])
        size = math.prod(shape) * _ITEM_BYTES[fields["dtype"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the entry of tensor {name[:80]!r} cannot be read") from error
    if stop - start != size:
        raise _broken(path, f"tensor {name[:80]!r} has {stop - start} bytes instead of {size}")
    return TensorEntry(name, fields["dtype"], shape, start, stop)


def _whole(number: Any) -> int:
    if type(number) is not int or number < 0:  # a bool is an int to isinstance
        raise ValueError(f"{number!r} is no size")
    return number


def _broken(path: Path, what: str) -> SourceInvalid:
    return SourceInvalid(f"{path.name} is cut off or changed: {what}; download it again", field=path.name)
