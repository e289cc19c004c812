"""What a task is: how a text's arrays become its result, and how a result is remembered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.types import Embedding, Options, TaskName, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task.

    Attributes:
        finish: Makes a result of the windows of one text (at least one) and whether it was cut.
        pack: Turns a result into bytes for the cache.
        unpack: Turns the bytes back, exactly.
    """

    name: TaskName
    finish: Callable[[Sequence[Window], bool, Options], Embedding]
    pack: Callable[[Embedding], bytes]
    unpack: Callable[[bytes], Embedding]
