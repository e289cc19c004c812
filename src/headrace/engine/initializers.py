"""The weights of an ONNX file by name, and the notes in it, without ONNX.

A runtime of our own needs no graph, only the constants that ``export/builder.py`` has named. The file is protobuf:
fields of a number and a type, some of which hold fields again. Three kinds of message matter here, of which a few
fields are read and the others passed over.
Format: https://protobuf.dev/programming-guides/encoding and onnx.proto of https://github.com/onnx/onnx
"""

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from headrace.errors import ModelCorrupt
from headrace.models.disk import reading
from headrace.types import FloatArray

ENCODER: Final = "headrace.encoder"
"""Key of the note that says what an encoder's weights do not: JSON with ``heads``, ``layers``, ``epsilon``,
``activation`` and ``pooling``."""

_MODEL_GRAPH, _MODEL_NOTE = 7, 14
_NOTE_KEY, _NOTE_VALUE = 1, 2
_GRAPH_INITIALIZER: Final = 5
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_DATA = 1, 2, 8, 9
_FLOAT: Final = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES: Final = 10
_GOES_ON: Final = 0x80  # set in each byte of a varint but the last


@dataclass(frozen=True, slots=True)
class Initializers:
    """What a file holds.

    Attributes:
        notes: The model's own metadata.
        tensors: The float32 constants: read-only views of the mapped file, which need not be aligned.
    """

    notes: Mapping[str, str]
    tensors: Mapping[str, FloatArray]


def read_initializers(path: Path) -> Initializers:
    """Read an ONNX file.

    Raises:
        ModelCorrupt: It is cut off, or no ONNX.
        StoreUnusable: It cannot be read.
    """
    with reading(path), path.open("rb") as file:
        if not path.stat().st_size:
            raise ModelCorrupt(f"{path} is empty; import the model again")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        return _read_model(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelCorrupt(f"{path} is no ONNX file: {error}; import the model again") from error


def _read_model(data: memoryview) -> Initializers:
    notes, tensors = dict[str, str](), dict[str, FloatArray]()
    for number, value in _fields(data):
        if number == _MODEL_NOTE:
            note = dict(_fields(_message(value)))
            notes[_text(note.get(_NOTE_KEY))] = _text(note.get(_NOTE_VALUE))
        elif number == _MODEL_GRAPH:
            initializers = (_message(entry) for field, entry in _fields(_message(value)) if field == _GRAPH_INITIALIZER)
            tensors.update(found for one in initializers if (found := _read_tensor(one)) is not None)
    return Initializers(notes, tensors)


def _read_tensor(data: memoryview) -> tuple[str, FloatArray] | None:
    """Return a tensor's name and values; nothing if it is not of float32 or keeps its values otherwise."""
    shape: list[int] = []
    last: dict[int, int | memoryview] = {}
    for number, value in _fields(data):
        if number == _TENSOR_SHAPE:
            shape += [value] if isinstance(value, int) else _packed(value)
        last[number] = value
    if last.get(_TENSOR_TYPE) != _FLOAT or _TENSOR_DATA not in last:
        return None
    values = np.frombuffer(_message(last[_TENSOR_DATA]), "<f4")
    if math.prod(shape) != values.size:
        raise ValueError(f"a tensor of shape {tuple(shape)} has {values.size} numbers")
    return _text(last.get(_TENSOR_NAME)), values.reshape(shape)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a message."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in {_FIXED32, _FIXED64}:
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"byte {place} has a field of the unknown type {kind}")
        if size > len(data) - place:
            raise ValueError("it is cut off")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return a number of variable length, and the place behind it."""
    number = 0
    for index in range(_MOST_VARINT_BYTES):
        if place + index >= len(data):
            raise ValueError("it is cut off")
        byte = data[place + index]
        number |= (byte & ~_GOES_ON) << (7 * index)
        if not byte & _GOES_ON:
            return number, place + index + 1
    raise ValueError(f"byte {place} begins a number without an end")


def _packed(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        number, place = _varint(data, place)
        yield number


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should be")  # noqa: TRY004 - of the file, not of the call
    return value


def _text(value: int | memoryview | None) -> str:
    return "" if value is None else bytes(_message(value)).decode()
