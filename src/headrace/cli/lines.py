"""Texts from a file: one on each line, or in a field of JSON Lines.

Read as a stream: of a file of any size, one line is in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import orjson

from headrace.cli.failures import naming
from headrace.errors import HeadraceError, RequestInvalid, RequestMalformed, RequestTooLarge

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some editors begin a UTF-8 file with it; it belongs to no text


@dataclass(frozen=True, slots=True)
class Line:
    """One text and the number of its line, counted from 1."""

    number: int
    text: str


def read_texts(file: BinaryIO, *, max_bytes: int) -> Iterator[Line]:
    """Yield every line as a text, empty ones too, so that the answers keep step with the lines.

    Raises:
        RequestMalformed: A line is not UTF-8.
        RequestTooLarge: A line is longer than ``max_bytes``.
        OSError: The file cannot be read.
    """
    for number, raw in _raw_lines(file, max_bytes):
        yield Line(number, _decode(number, raw))


def read_json_lines(file: BinaryIO, *, field: str, max_bytes: int) -> Iterator[Line]:
    """Yield the text in ``field`` of every JSON object; blank lines between objects are skipped.

    Raises:
        RequestMalformed: A line is not UTF-8 or not a JSON object.
        RequestInvalid: The field is missing, or not a string.
        RequestTooLarge: A line is longer than ``max_bytes``.
        OSError: The file cannot be read.
    """
    for number, raw in _raw_lines(file, max_bytes):
        if raw.strip():
            yield Line(number, _pick(number, _decode(number, raw), field))


def chunked(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    """Yield lists of up to ``size`` lines; what was read before an error is yielded before it is raised."""
    chunk: list[Line] = []
    failure: HeadraceError | OSError | None = None
    while failure is None:
        try:
            line = next(lines, None)
        except (HeadraceError, OSError) as error:
            line, failure = None, error
        if line is not None:
            chunk.append(line)
        if chunk and (line is None or len(chunk) == size):
            yield chunk
            chunk = []
        if line is None and failure is None:
            return
    raise failure


def _raw_lines(file: BinaryIO, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := _read_line(file, max_bytes + 1):
        number += 1
        if len(raw) > max_bytes:
            raise RequestTooLarge(
                f"line {number} is longer than {max_bytes} bytes; split it, or raise --limits-max-text-chars",
                field=f"line {number}",
            )
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        yield number, raw.removesuffix(b"\n").removesuffix(b"\r")


def _read_line(file: BinaryIO, max_bytes: int) -> bytes:
    """Read up to ``max_bytes`` of a line.

    Raises:
        OSError: The file cannot be read.
    """
    with naming(str(getattr(file, "name", "the file"))):
        return file.readline(max_bytes)


def _decode(number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestMalformed(
            f"line {number} is not UTF-8 (byte {error.start + 1}); convert the file, as with iconv -t UTF-8",
            field=f"line {number}",
        ) from error


def _pick(number: int, text: str, field: str) -> str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestMalformed(
            f"line {number} is not JSON (column {error.colno}); each line must be one object", field=f"line {number}"
        ) from error
    if not isinstance(value, dict):
        raise RequestMalformed(f"line {number} is JSON but no object; write {{{field!r}: ...}}", field=f"line {number}")
    if not isinstance(value.get(field), str):
        what = "no string" if field in value else "missing"
        raise RequestInvalid(
            f"line {number}: the field {field!r} is {what}; name the right one with --field", field=f"line {number}"
        )
    return str(value[field])
