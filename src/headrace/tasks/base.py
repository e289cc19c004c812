"""What a task is: how a text's arrays become its result, and how a result is remembered."""

from collections.abc import Callable
from dataclasses import dataclass

from headrace.types import Arrays, Embedding, Options, TaskName


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task.

    Attributes:
        finish: Makes a result of one text's arrays, its number of tokens and whether it was cut.
        pack: Turns a result into bytes for the cache.
        unpack: Turns the bytes back, exactly.
    """

    name: TaskName
    finish: Callable[[Arrays, int, bool, Options], Embedding]
    pack: Callable[[Embedding], bytes]
    unpack: Callable[[bytes], Embedding]
