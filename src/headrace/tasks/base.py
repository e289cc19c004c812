"""What a task is: how a text's arrays become its result, and how a result is remembered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.types import Options, Result, TaskName, Traits, Window


class Finish(Protocol):
    """Makes a result of the windows of one text (at least one), and of whether it was cut."""

    def __call__(self, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Result: ...


class Pack(Protocol):
    """Turns a result of this task into bytes for the cache."""

    def __call__(self, result: Any, /) -> bytes: ...


class Unpack(Protocol):
    """Turns the bytes back, exactly."""

    def __call__(self, data: bytes, /) -> Result: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task."""

    name: TaskName
    finish: Finish
    pack: Pack
    unpack: Unpack
