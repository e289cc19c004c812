"""Tensors of the Open Inference Protocol: as JSON beside their shape, or as bytes behind the JSON.

Spec: https://github.com/kserve/open-inference-protocol and Triton's extension of binary tensor data. Numbers are
little-endian, row after row; a text is its length as uint32 and its UTF-8.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.api.validation import parse_json
from headrace.errors import RequestInvalid, RequestMalformed
from headrace.types import FloatArray

BINARY_SIZE: Final = "binary_data_size"
"""Parameter of a tensor that says how many of the bytes behind the JSON are its."""

_LENGTH: Final = struct.Struct("<I")
_MAX_AXES: Final = 8
_MAX_SHOWN: Final = 80


class InputTensor(BaseModel):
    """A tensor as it came: with its data, or with how many of the bytes behind the JSON are its."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    datatype: str
    shape: list[int] = Field(max_length=_MAX_AXES)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor of an answer.

    Attributes:
        data: Its numbers or its texts, row after row. JSON may have rows in lists of their own as well, but Triton and
            MLServer write none, and Triton's client for Java reads none.
    """

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: Sequence[int]
    data: FloatArray | Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return it with its data."""
        return {**self._describe(), "data": self.data}

    def as_bytes(self) -> tuple[dict[str, Any], bytes]:
        """Return it without its data, and that."""
        data = _pack(self.data) if isinstance(self.data, Sequence) else self.data.astype("<f4", copy=False).tobytes()
        return {**self._describe(), "parameters": {BINARY_SIZE: len(data)}}, data

    def _describe(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def _pack(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(_LENGTH.pack(len(each)) + each for each in encoded)


def split(data: bytes, json_size: str | None) -> tuple[Any, bytes]:
    """Return the JSON of a body, and the bytes behind it.

    Args:
        data: The body.
        json_size: How many bytes are JSON, as the header says; nothing if all are.

    Raises:
        RequestMalformed: The header has no such number, or what it counts is no JSON.
    """
    size = len(data) if json_size is None else int(json_size) if json_size.isascii() and json_size.isdigit() else -1
    if not 0 <= size <= len(data):
        raise RequestMalformed(
            f"inference-header-content-length is {str(json_size)[:40]!r} and the body has {len(data)} bytes;"
            " give the bytes of its JSON"
        )
    return parse_json(data[:size]), data[size:]


def read_texts(tensors: Sequence[InputTensor], blobs: bytes) -> Mapping[str, tuple[str, ...]]:
    """Return the texts of tensors by their names.

    Raises:
        RequestInvalid: A tensor is none of texts, has other data than its shape says, or the bytes do not fit.
    """
    found: dict[str, tuple[str, ...]] = {}
    at = 0
    for index, tensor in enumerate(tensors):
        field, name = f"inputs[{index}]", tensor.name[:_MAX_SHOWN]
        if tensor.datatype != "BYTES":
            raise RequestInvalid(f"{name!r} is {tensor.datatype[:_MAX_SHOWN]!r}; send texts, as BYTES", field=field)
        if tensor.name in found:
            raise RequestInvalid(f"{name!r} is there twice; send each input once", field=field)
        size = tensor.parameters.get(BINARY_SIZE)
        if size is None:
            texts = tuple(_flatten(tensor.data or (), field))
        else:
            texts, at = tuple(_unpack(_cut(blobs, at, size, field), field)), at + size
        _require_shape(tensor, len(texts), field)
        found[tensor.name] = texts
    if at != len(blobs):
        raise RequestInvalid(f"{len(blobs) - at} bytes behind the JSON belong to no input", field="inputs")
    return found


def _cut(blobs: bytes, at: int, size: Any, field: str) -> bytes:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(blobs) - at:
        raise RequestInvalid(
            f"{BINARY_SIZE} is {str(size)[:40]} and {len(blobs) - at} bytes are left behind the JSON", field=field
        )
    return blobs[at : at + size]


def _require_shape(tensor: InputTensor, count: int, field: str) -> None:
    if any(axis < 0 for axis in tensor.shape) or math.prod(tensor.shape) != count:
        raise RequestInvalid(f"the shape {tensor.shape} does not fit {count} texts", field=f"{field}.shape")


def _flatten(data: Sequence[Any], field: str, depth: int = 1) -> Iterator[str]:
    """Yield the texts of nested lists; both these and flat ones are allowed whatever the shape."""
    for each in data:
        if isinstance(each, str):
            yield each
        elif isinstance(each, list) and depth < _MAX_AXES:
            yield from _flatten(each, field, depth + 1)
        else:
            raise RequestInvalid("the data holds something that is no text; send strings", field=f"{field}.data")


def _unpack(data: bytes, field: str) -> Iterator[str]:
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise RequestInvalid("the bytes end in the middle of a length", field=field)
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + size > len(data):
            raise RequestInvalid("the bytes end in the middle of a text", field=field)
        yield _decode(data[at : at + size], field)
        at += size


def _decode(data: bytes, field: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RequestInvalid("a text is no valid UTF-8", field=field) from error
