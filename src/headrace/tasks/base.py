"""What a task is: which texts a model reads for a request, how their arrays become results, and those the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import RequestInvalid
from headrace.types import ModelTask, Options, Request, Result, TaskName, Text, Traits, Window


@dataclass(frozen=True, slots=True)
class Item:
    """What a model reads at a time for a request.

    Attributes:
        field: What the caller calls it, such as ``inputs[3]``.
    """

    field: str
    text: Text


def each_input(request: Request) -> tuple[Item, ...]:
    """Return the inputs."""
    return tuple([Item(f"inputs[{index}]", text) for index, text in enumerate(request.inputs)])


def query_of(request: Request) -> str:
    """Return what the inputs are compared with.

    Raises:
        RequestInvalid: There is nothing.
    """
    if request.query is None:
        raise RequestInvalid("query is missing; send the text that the inputs are compared with", field="query")
    return request.query


def as_they_are(results: Sequence[Result], _options: Options) -> tuple[Result, ...]:
    """Return the results."""
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The pure functions of one task.

    Attributes:
        model: What a model must do to be asked for this.
        finish: Makes a result of one text and its windows (at least one), of whether it was cut, of what the caller
            chose, and of what the model is. That is what the cache remembers.
        pack: Turns such a result into bytes for the cache.
        unpack: Turns the bytes back, exactly.
        spell: Returns what is particular to a result of this task, by the names that every surface has for it.
        expand: Returns the texts that a model has to read for a request.
        combine: Makes the results of the answer of those of the texts.
    """

    name: TaskName
    model: ModelTask
    finish: Callable[[Any, Sequence[Window], bool, Options, Traits], Result]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Result]
    spell: Callable[[Any], dict[str, Any]]
    expand: Callable[[Request], tuple[Item, ...]] = each_input
    combine: Callable[[Sequence[Any], Options], tuple[Result, ...]] = as_they_are
