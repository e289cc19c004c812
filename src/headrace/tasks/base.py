"""What a task is: which texts a model reads for a request, how their arrays become results, and those the answer."""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.errors import HeadraceError, RequestInvalid
from headrace.options import Options
from headrace.types import ModelTask, Request, Result, TaskName, Text, Traits, Window

# Tokens, windows, truncated; 12 bytes, so that numbers after it are aligned.
_COUNTS: Final = struct.Struct("<II?3x")
_INPUT: Final = re.compile(r"inputs\[(\d+)\]")


def count(windows: Sequence[Window], truncated: bool) -> dict[str, Any]:
    """Return the fields that every result has, of the windows of its text."""
    return {"tokens": sum(window.tokens for window in windows), "truncated": truncated, "windows": len(windows)}


def pack_counts(result: Result) -> bytes:
    """Turn what every result has into bytes, which what is particular to it follows."""
    return _COUNTS.pack(result.tokens, result.windows, result.truncated)


def unpack_counts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Turn the bytes of ``pack_counts`` back into fields, and return what follows them."""
    tokens, windows, truncated = _COUNTS.unpack_from(data)
    return {"tokens": tokens, "truncated": truncated, "windows": windows}, data[_COUNTS.size :]


def trim(text: str, start: int, end: int) -> tuple[int, str]:
    """Return where a span of a text begins without the spaces around it, and what it is then.

    Tokenizers for which a space belongs to the word after it may count it to the span.
    """
    span = text[start:end]
    return start + len(span) - len(span.lstrip()), span.strip()


def closeness(left: float, right: float) -> float:
    """Return 1 for equal numbers, and less the further apart they are: by their size, but at least by 1."""
    return 1 - min(1.0, abs(left - right) / max(abs(left), abs(right), 1.0))


def read_inputs(request: Request, _traits: Traits) -> tuple[Text, ...]:
    """Return the inputs."""
    return request.inputs


def name_input(index: int) -> str:
    """Return what a caller calls an input."""
    return f"inputs[{index}]"


def read_input(field: str | None) -> int | None:
    """Return the index of the input that a caller calls so; nothing if it is none."""
    found = _INPUT.fullmatch(field or "")
    return int(found[1]) if found else None


def shift_input(error: HeadraceError, start: int) -> HeadraceError:
    """Return the error of a part of a list that begins at an index, so that it names a place in the whole list."""
    place = read_input(error.field)
    return error if place is None else error.at(name_input(start + place))


def name_label(index: int) -> str:
    """Return what a caller calls a label."""
    return f"labels[{index}]"


def name_own(index: int, _request: Request) -> str:
    """Return what a caller calls a text that is an input, or is read for one."""
    return name_input(index)


def pair_with_query(request: Request, _traits: Traits) -> tuple[Text, ...]:
    """Return the query with each of the inputs.

    Raises:
        RequestInvalid: There is no query.
    """
    query = query_of(request)
    return tuple((query, text) for text in request.inputs)


def query_of(request: Request) -> str:
    """Return what the inputs are compared with.

    Raises:
        RequestInvalid: There is nothing.
    """
    if request.query is None:
        raise RequestInvalid("query is missing; send the text that the inputs are compared with", field="query")
    return request.query


def as_they_are(results: Sequence[Result], _request: Request) -> tuple[Result, ...]:
    """Return the results."""
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task.

    Attributes:
        model: What a model must do to be asked for this.
        options: Names of those that a result depends on which is remembered.
        finish: Makes a result of one text and its windows (at least one), of whether it was cut, of what the caller
            chose, and of what the model is. That is what the cache remembers.
        pack: Turns such a result into bytes for the cache.
        unpack: Turns the bytes back, exactly.
        agree: Returns how far two such results say the same: 1 if they do, 0 if they say another thing.
        spell: Returns what is particular to a result of this task, by the names that every surface has for it.
        expand: Returns the texts that a model, as it is, has to read for a request.
        name_text: Returns what the caller calls one of these texts, by its index.
        combine: Makes the results of the answer of those of the texts.
    """

    name: TaskName
    model: ModelTask
    options: tuple[str, ...]
    finish: Callable[[Any, Sequence[Window], bool, Options, Traits], Result]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Result]
    agree: Callable[[Any, Any], float]
    spell: Callable[[Any], dict[str, Any]]
    expand: Callable[[Request, Traits], tuple[Text, ...]] = read_inputs
    name_text: Callable[[int, Request], str] = name_own
    combine: Callable[[Sequence[Any], Request], tuple[Result, ...]] = as_they_are
