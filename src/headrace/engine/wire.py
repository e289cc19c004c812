"""Messages between an engine and whoever uses it from another process.

A message is a frame: two lengths (little-endian uint32), a header in JSON, and a body of raw bytes: texts as UTF-8,
arrays as they lie in memory, little-endian. No pickle, and nothing in a frame is code. Both lengths are checked
against a bound before a byte is read for them, and every length in the header against the body.

The same frames go over a socket pair to a child process and over TCP. Jobs are told apart by number, so many are
on their way at a time. A deadline travels as the seconds that remain: clocks of two machines differ.
"""

import itertools
import math
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import orjson

from headrace.engine.arrays import ArrayReader, ArrayWriter, read_size
from headrace.engine.base import Job, JobResult, Output
from headrace.errors import EngineFailed, HeadraceError, errors_by_code
from headrace.options import Truncate
from headrace.types import Text, Timings, Window, parts_of

VERSION: Final = 5
# A header has some 20 bytes for each text, or each window of one: enough for 800,000 of them at once. A full queue of
# 32 MiB of text is 75,000 windows of 512 tokens, if each byte is a token.
MAX_HEADER_BYTES: Final = 16 << 20
# 2048 texts (a full queue) of 32,768 characters of 4 bytes (the longest text) are a quarter of this.
MAX_BODY_BYTES: Final = 1 << 30

_LENGTHS: Final = struct.Struct("<II")
_FOREVER_S: Final = 1e9  # JSON has no infinity; this is 30 years


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
    head = orjson.dumps(header)
    _check_lengths(len(head), len(body))
    return b"".join((_LENGTHS.pack(len(head), len(body)), head, body))


def decode(head: bytes, body: bytes) -> Message:
    """Return the message of a frame.

    Raises:
        ValueError: It is none.
    """
    try:
        header = orjson.loads(head)
        return _DECODERS[header["kind"]](header, body)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"a frame of {len(head)} and {len(body)} bytes is no message") from error


def cut(data: bytes, start: int) -> tuple[Message | None, int]:
    """Return the message that begins somewhere in what arrived, and where it ends.

    As long as a part of it is missing, there is no message, and the end is where at least so much must be there.

    Raises:
        ValueError: What came is no message.
    """
    begin = start + _LENGTHS.size
    if len(data) < begin:
        return None, begin
    head_bytes, body_bytes = _LENGTHS.unpack_from(data, start)
    _check_lengths(head_bytes, body_bytes)
    middle = begin + head_bytes
    end = middle + body_bytes
    if len(data) < end:
        return None, end
    # A copy of the body, since what lies at an odd place of what arrived makes arrays that are slow to compute with.
    return decode(data[begin:middle], data[middle:end]), end


def _check_lengths(head_bytes: int, body_bytes: int) -> None:
    if head_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ValueError(
            f"a frame of {head_bytes} and {body_bytes} bytes is over the bounds ({MAX_HEADER_BYTES}, {MAX_BODY_BYTES})"
        )


def _encode_run(message: Run) -> tuple[_Header, bytes]:
    job = message.job
    # Python strings can hold lone surrogates; whoever tokenizes refuses them, text by text.
    texts = [[part.encode("utf-8", "surrogatepass") for part in parts_of(text)] for text in job.texts]
    header = {
        "number": job.number,
        "truncate": job.truncate,
        "tenant": job.tenant,
        "remaining_s": min(job.deadline - time.monotonic(), _FOREVER_S),
        "sizes": [list(map(len, parts)) if len(parts) > 1 else len(parts[0]) for parts in texts],
    }
    return header, b"".join(itertools.chain.from_iterable(texts))


def _decode_run(header: _Header, body: bytes) -> Run:
    truncate: Truncate = header["truncate"]
    if truncate not in get_args(Truncate):
        raise ValueError(f"truncate cannot be {truncate!r}")
    sizes = [size if isinstance(size, list) else [size] for size in header["sizes"]]
    parts = (str(part, "utf-8", "surrogatepass") for part in _cut(body, list(itertools.chain.from_iterable(sizes))))
    texts = tuple(_read_text(parts, len(size)) for size in sizes)
    deadline = time.monotonic() + _finite(header["remaining_s"])
    tenant = header["tenant"]
    if type(tenant) is not str:
        raise ValueError(f"a tenant cannot be {tenant!r}")
    return Run(Job(texts=texts, truncate=truncate, deadline=deadline, tenant=tenant, number=_number(header)))


def _read_text(parts: Iterator[str], count: int) -> Text:
    match tuple(itertools.islice(parts, count)):
        case (text,):
            return text
        case (first, second):
            return first, second
    raise ValueError(f"a text has one part or two, not {count}")


def _encode_done(message: Done) -> tuple[_Header, bytes]:
    timings, writer = message.result.timings, ArrayWriter()
    header = {
        "number": message.number,
        "timings": [timings.queue_s, timings.tokenize_s, timings.run_s],
        "items": [_encode_item(item, writer) for item in message.result.items],
        "layouts": writer.layouts,
    }
    return header, writer.body


def _encode_item(item: Output | HeadraceError, writer: ArrayWriter) -> list[Any] | _Header:
    if isinstance(item, HeadraceError):
        return _encode_error(item)
    return [item.truncated, [[window.tokens, window.weight, writer.add(window.arrays)] for window in item.windows]]


def _decode_done(header: _Header, body: bytes) -> Done:
    queue_s, tokenize_s, run_s = map(_finite, header["timings"])
    reader = ArrayReader(header["layouts"], body)
    items = tuple([_decode_item(item, reader) for item in header["items"]])
    reader.check_end()
    timings = Timings(queue_s=queue_s, tokenize_s=tokenize_s, run_s=run_s)
    return Done(_number(header), JobResult(items=items, timings=timings))


def _decode_item(item: list[Any] | _Header, reader: ArrayReader) -> Output | HeadraceError:
    if isinstance(item, dict):
        return _decode_error(item)
    is_truncated, described = item
    windows = [
        Window(arrays=reader.read(layout), tokens=read_size(tokens), weight=read_size(weight))
        for tokens, weight, layout in described
    ]
    if not windows:
        raise ValueError("an output has at least one window")
    return Output(windows=tuple(windows), truncated=is_truncated is True)


def _encode_batch_seen(message: BatchSeen) -> tuple[_Header, bytes]:
    header = {
        "texts": message.texts,
        "tokens": message.tokens,
        "padded_tokens": message.padded_tokens,
        "failed": message.failed,
        "run_s": message.run_s,
    }
    return header, b""


def _encode_error(error: HeadraceError) -> _Header:
    return {
        "code": error.code,
        "message": error.message.encode("utf-8", "backslashreplace").decode(),  # a lone surrogate is no JSON
        "field": error.field,
        "retry_after_s": error.retry_after_s,
    }


def _decode_error(fields: _Header) -> HeadraceError:
    """Return the error as the class it was; a code from a newer version than this one is a failed engine."""
    kind = errors_by_code().get(fields["code"], EngineFailed)
    wait_s = None if fields["retry_after_s"] is None else _finite(fields["retry_after_s"])
    return kind(str(fields["message"]), field=fields["field"], retry_after_s=wait_s)


def _cut(body: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Return the parts of a body, which they must fill exactly."""
    if sum(map(read_size, sizes)) != len(body):
        raise ValueError(f"the parts of a body of {len(body)} bytes do not add up to it")
    ends = list(itertools.accumulate(sizes, initial=0))
    return (body[start:end] for start, end in itertools.pairwise(ends))


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"a figure cannot be {value!r}")
    return number


def _number(header: _Header) -> int:
    return read_size(header["number"])


_ENCODERS: Final[Mapping[type, Callable[[Any], tuple[_Header, bytes]]]] = {
    Ready: lambda message: ({"version": message.version}, b""),
    StartFailed: lambda message: ({"error": _encode_error(message.error)}, b""),
    Run: _encode_run,
    Probe: lambda message: ({"number": message.number}, b""),
    Cancel: lambda message: ({"number": message.number}, b""),
    Done: _encode_done,
    Probed: lambda message: ({"number": message.number}, b""),
    Refused: lambda message: ({"number": message.number, "error": _encode_error(message.error)}, b""),
    BatchSeen: _encode_batch_seen,
    QueueSeen: lambda message: ({"waiting": message.waiting}, b""),
}
_DECODERS: Final[Mapping[str, Callable[[_Header, bytes], Message]]] = {
    "Ready": lambda header, _: Ready(read_size(header["version"])),
    "StartFailed": lambda header, _: StartFailed(_decode_error(header["error"])),
    "Run": _decode_run,
    "Probe": lambda header, _: Probe(_number(header)),
    "Cancel": lambda header, _: Cancel(_number(header)),
    "Done": _decode_done,
    "Probed": lambda header, _: Probed(_number(header)),
    "Refused": lambda header, _: Refused(_number(header), _decode_error(header["error"])),
    "BatchSeen": lambda header, _: BatchSeen(
        texts=read_size(header["texts"]),
        tokens=read_size(header["tokens"]),
        padded_tokens=read_size(header["padded_tokens"]),
        failed=read_size(header["failed"]),
        run_s=_finite(header["run_s"]),
    ),
    "QueueSeen": lambda header, _: QueueSeen(read_size(header["waiting"])),
}
