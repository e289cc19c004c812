"""Answers to a stream of lines, printed as they come."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from headrace import app
from headrace.cli.failures import OUTPUT, naming
from headrace.cli.lines import Line, chunked
from headrace.errors import HeadraceError
from headrace.options import Options
from headrace.settings import LoadedSettings
from headrace.tasks import spell
from headrace.tasks.base import read_input
from headrace.tasks.rerank import choose_best
from headrace.types import Answer, Caller, Ranking, Request, Scope, TaskName

if TYPE_CHECKING:
    from headrace.service import Service

_CHUNK_LIMIT_S: Final = 3600.0  # nobody waits with a stop-watch; it only bounds a wait that would never end
_CALLER: Final = Caller("local", frozenset(Scope))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of each line.

    Attributes:
        model: Name in the store.
        query: What each line is compared with, for a task that compares, or what is asked of it.
        labels: What each line may be about, for a task that is told so.
    """

    task: TaskName
    model: str
    options: Options
    query: str | None = None
    labels: tuple[str, ...] = ()


async def answer_lines(
    loaded: LoadedSettings, asked: Asked, lines: Iterator[Line], advance: Callable[[], None]
) -> None:
    """Print one JSON object for each line.

    Args:
        loaded: All options.
        asked: What is asked of each.
        lines: Read as they are needed; a chunk of them is in memory at a time.
        advance: Called after each chunk.

    Raises:
        HeadraceError: A line or a text was refused; the message names its line, and those before it are printed,
            unless they are to be ranked.
    """
    loaded = app.for_one_caller(loaded)
    size = app.count_at_once(loaded.settings, len(asked.labels))
    index, ranked = 0, _Ranked(asked.options)
    take = ranked.take if asked.task == "rerank" else _print_answer
    async with app.open_service(loaded, [asked.model]) as service:
        for chunk in chunked(lines, size):
            await _answer_chunk(service, asked, chunk, index, take)
            index += len(chunk)
            advance()
    ranked.print()


class _Ranked:
    """Rankings of chunks; only at the end it is known which of all lines are the best."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._results: list[Ranking] = []

    def take(self, answer: Answer, index: int) -> None:
        """Take those of the chunk that begins at an index."""
        found = [result for result in answer.results if isinstance(result, Ranking)]
        self._results += [replace(result, index=index + result.index) for result in found]

    def print(self) -> None:
        """Print the best first."""
        _write(_line(spell("rerank", result)) for result in choose_best(self._results, self._options))


async def _answer_chunk(
    service: "Service", asked: Asked, chunk: Sequence[Line], index: int, take: Callable[[Answer, int], None]
) -> None:
    """Give on the answers to a chunk, and if one text is refused, of those before it.

    Raises:
        HeadraceError: A text was refused; the message names its line.
    """
    request = Request(
        task=asked.task,
        inputs=tuple(line.text for line in chunk),
        query=asked.query,
        labels=asked.labels,
        caller=_CALLER,
        request_id=f"line-{chunk[0].number}",
        deadline=time.monotonic() + _CHUNK_LIMIT_S,
        options=asked.options,
    )
    try:
        answer = await service.run(request)
    except HeadraceError as error:
        position = read_input(error.field)
        if position is None:
            raise
        if position > 0:
            await _answer_chunk(service, asked, chunk[:position], index, take)
        number = chunk[position].number
        raise type(error)(f"line {number}: {error.message}", field=f"line {number}") from error
    take(answer, index)


def _print_answer(answer: Answer, index: int) -> None:
    _write(_line({"index": index + place, **spell(answer.task, each)}) for place, each in enumerate(answer.results))


def _write(lines: Iterable[bytes]) -> None:
    with naming(OUTPUT):
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def _line(body: Mapping[str, Any]) -> bytes:
    # orjson writes a float32 with the digits it has; through float64 each would have some 17.
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
