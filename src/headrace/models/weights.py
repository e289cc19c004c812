"""Weight files: which are safe to read, and whether one is whole, told without loading it.

Only safetensors is read: a pickle runs code when it is opened. The header of a safetensors file says where each
tensor lies; a file cut off or changed there is found here, in milliseconds and before torch is loaded.
Format: https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
import struct
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported

WEIGHTS: Final = "model.safetensors"
SHARDS: Final = "model.safetensors.index.json"
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5"})

_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000  # the format's own limit
_ITEM_BYTES: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


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
    _check_tensors(path, header, size - _LENGTH_BYTES - length)


def _check_tensors(path: Path, header: dict[str, Any], data_bytes: int) -> None:
    """Check that the tensors lie one after the other, from the first byte to the last, as the format demands."""
    header.pop("__metadata__", None)
    spans = sorted(_span(path, name, tensor) for name, tensor in header.items())
    end = 0
    for start, stop in spans:
        if start != end:
            raise _broken(path, f"byte {end} of its data belongs to no tensor or to two")
        end = stop
    if not spans or end != data_bytes:
        raise _broken(path, f"its tensors take {end} bytes and the file holds {data_bytes}")


def _span(path: Path, name: str, tensor: Any) -> tuple[int, int]:
    try:
        start, stop = (_whole(offset) for offset in tensor["data_offsets"])
        size = math.prod(_whole(axis) for axis in tensor["shape"]) * _ITEM_BYTES[tensor["dtype"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the entry of tensor {name[:80]!r} cannot be read") from error
    if stop - start != size:
        raise _broken(path, f"tensor {name[:80]!r} has {stop - start} bytes instead of {size}")
    return start, stop


def _whole(number: Any) -> int:
    if type(number) is not int or number < 0:  # a bool is an int to isinstance
        raise ValueError(f"{number!r} is no size")
    return number


def _broken(path: Path, what: str) -> SourceInvalid:
    return SourceInvalid(f"{path.name} is cut off or changed: {what}; download it again", field=path.name)
