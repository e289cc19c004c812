"""What a task is: how a text's arrays become its result, and how a result is remembered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.types import Options, Result, TaskName, Traits, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task.

    Attributes:
        finish: Makes a result of one text and its windows (at least one), of whether it was cut, of what the caller
            chose, and of what the model is.
        pack: Turns a result of this task into bytes for the cache.
        unpack: Turns the bytes back, exactly.
        spell: Returns what is particular to a result of this task, by the names that every surface has for it.
    """

    name: TaskName
    finish: Callable[[str, Sequence[Window], bool, Options, Traits], Result]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Result]
    spell: Callable[[Any], dict[str, Any]]
