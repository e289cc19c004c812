"""Messages between an engine and whoever uses it from another process.

A message is a frame: two lengths (little-endian uint32), a header in JSON, and a body of raw bytes: texts as UTF-8,
arrays as they lie in memory, little-endian. No pickle, and nothing in a frame is code. Both lengths are checked
against a bound before a byte is read for them, and every length in the header against the body.

The same frames go over a socket pair to a child process and over TCP. Jobs are told apart by number, so many are
on their way at a time. A deadline travels as the seconds that remain: clocks of two machines differ.
"""

import asyncio
import json
import math
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import numpy as np

from headrace.engine.base import Job, JobResult, Output
from headrace.errors import EngineFailed, HeadraceError, error_classes
from headrace.types import Arrays, Timings, Truncate, Window

VERSION: Final = 2
# A header has some 60 bytes for each text, or each window of one: enough for 250,000 of them at once. A full queue of
# 32 MiB of text is 75,000 windows of 512 tokens, if each byte is a token.
MAX_HEADER_BYTES: Final = 16 << 20
# 2048 texts (a full queue) of 32,768 characters of 4 bytes (the longest text) are a quarter of this.
MAX_BODY_BYTES: Final = 1 << 30

# Without spaces, which is a third less; made once, which is half of the time. All is ASCII: a lone surrogate in an
# error's message survives as an escape.
_JSON: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_READER: Final = json.JSONDecoder()
_LENGTHS: Final = struct.Struct("<II")
_DTYPES: Final = frozenset({"<f2", "<f4", "<f8", "<i4", "<i8", "|b1", "|i1", "|u1"})
_FOREVER_S: Final = 1e9  # JSON has no infinity; this is 30 years
_MAX_AXES: Final = 4  # of one text's array; an embedding has one


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine has loaded its model."""

    version: int = VERSION


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The engine could not load its model."""

    error: HeadraceError


@dataclass(frozen=True, slots=True)
class Run:
    """A job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask for one real inference."""

    number: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this job any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to a job."""

    number: int
    result: JobResult


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe succeeded."""

    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A job or a probe failed as a whole."""

    number: int
    error: HeadraceError


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """A batch left the runtime: the fields of ``BatchFinished`` but for the model."""

    texts: int
    tokens: int
    padded_tokens: int
    failed: int
    run_s: float


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """Texts that wait in the engine."""

    waiting: int


Message = Ready | StartFailed | Run | Probe | Cancel | Done | Probed | Refused | BatchSeen | QueueSeen
_Header = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        ValueError: It is too large, or an array has a type that no engine gives.
    """
    header, body = _ENCODERS[type(message)](message)
    header["kind"] = type(message).__name__
    head = _JSON.encode(header).encode("ascii")
    _check_lengths(len(head), len(body))
    return b"".join((_LENGTHS.pack(len(head), len(body)), head, body))


def decode(head: bytes, body: bytes) -> Message:
    """Return the message of a frame.

    Raises:
        ValueError: It is none.
    """
    try:
        header = _READER.decode(str(head, "ascii"))
        return _DECODERS[header["kind"]](header, body)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"a frame of {len(head)} and {len(body)} bytes is no message") from error


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message; nothing if the other end hung up, also in the middle of one.

    Raises:
        ValueError: What came is no message.
    """
    try:
        head_bytes, body_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        _check_lengths(head_bytes, body_bytes)
        head, body = await reader.readexactly(head_bytes), await reader.readexactly(body_bytes)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return decode(head, body)


def _check_lengths(head_bytes: int, body_bytes: int) -> None:
    if head_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(
            f"a frame of {head_bytes} and {body_bytes} bytes is over the bounds ({MAX_HEADER_BYTES}, {MAX_BODY_BYTES})"
        )


def _encode_run(message: Run) -> tuple[_Header, bytes]:
    job = message.job
    # Python strings can hold lone surrogates; whoever tokenizes refuses them, text by text.
    texts = [text.encode("utf-8", "surrogatepass") for text in job.texts]
    header = {
        "number": job.number,
        "truncate": job.truncate,
        "remaining_s": min(job.deadline - time.monotonic(), _FOREVER_S),
        "sizes": [len(text) for text in texts],
    }
    return header, b"".join(texts)


def _decode_run(header: _Header, body: bytes) -> Run:
    truncate: Truncate = header["truncate"]
    if truncate not in get_args(Truncate):
        raise ValueError(f"truncate cannot be {truncate!r}")
    texts = tuple(str(part, "utf-8", "surrogatepass") for part in _cut(body, header["sizes"]))
    deadline = time.monotonic() + _finite(header["remaining_s"])
    return Run(Job(texts=texts, truncate=truncate, deadline=deadline, number=_number(header)))


def _encode_done(message: Done) -> tuple[_Header, bytes]:
    timings = message.result.timings
    parts: list[bytes] = []
    header = {
        "number": message.number,
        "timings": [timings.queue_s, timings.tokenize_s, timings.run_s],
        "items": [_encode_item(item, parts) for item in message.result.items],
    }
    return header, b"".join(parts)


def _encode_item(item: Output | HeadraceError, parts: list[bytes]) -> _Header:
    if isinstance(item, HeadraceError):
        return {"error": _encode_error(item)}
    return {"truncated": item.truncated, "windows": [_encode_window(window, parts) for window in item.windows]}


def _encode_window(window: Window, parts: list[bytes]) -> list[Any]:
    arrays = []
    for name, array in window.arrays.items():
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if little.dtype.str not in _DTYPES:
            raise ValueError(f"the output {name!r} has type {little.dtype.str!r}, which does not travel")
        parts.append(little.tobytes())
        arrays.append([name, little.dtype.str, list(array.shape)])
    return [window.tokens, window.weight, arrays]


def _decode_done(header: _Header, body: bytes) -> Done:
    queue_s, tokenize_s, run_s = map(_finite, header["timings"])
    windows = [window for item in header["items"] for window in item.get("windows", ())]
    sizes = [_array_bytes(dtype, shape) for _, _, arrays in windows for _, dtype, shape in arrays]
    parts = _cut(body, sizes)
    items = tuple(_decode_item(item, parts) for item in header["items"])
    timings = Timings(queue_s=queue_s, tokenize_s=tokenize_s, run_s=run_s)
    return Done(_number(header), JobResult(items=items, timings=timings))


def _decode_item(item: _Header, parts: Iterator[memoryview]) -> Output | HeadraceError:
    if "error" in item:
        return _decode_error(item["error"])
    windows = tuple(_decode_window(window, parts) for window in item["windows"])
    if not windows:
        raise ValueError("an output has at least one window")
    return Output(windows=windows, truncated=item["truncated"] is True)


def _decode_window(window: Sequence[Any], parts: Iterator[memoryview]) -> Window:
    tokens, weight, described = window
    # Views into the frame, which lives as long as the job's answer, and read-only like the frame.
    arrays: Arrays = {
        str(name): np.frombuffer(next(parts), dtype=dtype).reshape(shape) for name, dtype, shape in described
    }
    return Window(arrays=arrays, tokens=_size(tokens), weight=_size(weight))


def _array_bytes(dtype: str, shape: Sequence[int]) -> int:
    if dtype not in _DTYPES or len(shape) > _MAX_AXES:
        raise ValueError(f"an array of type {dtype!r} and {len(shape)} axes does not travel")
    return int(np.dtype(dtype).itemsize) * math.prod(_size(axis) for axis in shape)


def _encode_error(error: HeadraceError) -> _Header:
    return {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "retry_after_s": error.retry_after_s,
    }


def _decode_error(fields: _Header) -> HeadraceError:
    """Return the error as the class it was; a code from a newer version than this one is a failed engine."""
    kind = _errors_by_code().get(fields["code"], EngineFailed)
    wait_s = None if fields["retry_after_s"] is None else _finite(fields["retry_after_s"])
    return kind(str(fields["message"]), field=fields["field"], retry_after_s=wait_s)


def _errors_by_code() -> dict[str, type[HeadraceError]]:
    return {kind.code: kind for kind in error_classes()}


def _cut(body: bytes, sizes: Sequence[int]) -> Iterator[memoryview]:
    """Return the parts of a body, which they must fill exactly."""
    if sum(map(_size, sizes)) != len(body):
        raise ValueError(f"the parts of a body of {len(body)} bytes do not add up to it")
    view, offset, parts = memoryview(body), 0, []
    for size in sizes:
        parts.append(view[offset : offset + size])
        offset += size
    return iter(parts)


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"a length cannot be {value!r}")
    return value


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"a figure cannot be {value!r}")
    return number


def _number(header: _Header) -> int:
    return _size(header["number"])


_ENCODERS: Final[Mapping[type, Callable[[Any], tuple[_Header, bytes]]]] = {
    Ready: lambda message: ({"version": message.version}, b""),
    StartFailed: lambda message: ({"error": _encode_error(message.error)}, b""),
    Run: _encode_run,
    Probe: lambda message: ({"number": message.number}, b""),
    Cancel: lambda message: ({"number": message.number}, b""),
    Done: _encode_done,
    Probed: lambda message: ({"number": message.number}, b""),
    Refused: lambda message: ({"number": message.number, "error": _encode_error(message.error)}, b""),
    BatchSeen: lambda message: (asdict(message), b""),
    QueueSeen: lambda message: ({"waiting": message.waiting}, b""),
}
_DECODERS: Final[Mapping[str, Callable[[_Header, bytes], Message]]] = {
    "Ready": lambda header, _: Ready(_size(header["version"])),
    "StartFailed": lambda header, _: StartFailed(_decode_error(header["error"])),
    "Run": _decode_run,
    "Probe": lambda header, _: Probe(_number(header)),
    "Cancel": lambda header, _: Cancel(_number(header)),
    "Done": _decode_done,
    "Probed": lambda header, _: Probed(_number(header)),
    "Refused": lambda header, _: Refused(_number(header), _decode_error(header["error"])),
    "BatchSeen": lambda header, _: BatchSeen(
        texts=_size(header["texts"]),
        tokens=_size(header["tokens"]),
        padded_tokens=_size(header["padded_tokens"]),
        failed=_size(header["failed"]),
        run_s=_finite(header["run_s"]),
    ),
    "QueueSeen": lambda header, _: QueueSeen(_size(header["waiting"])),
}
