"""Embeddings of a stream of lines, printed as they come."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from headrace import app
from headrace.cli.lines import Line, chunked
from headrace.errors import HeadraceError
from headrace.settings import LoadedSettings
from headrace.types import Answer, Caller, Options, Request, Scope

if TYPE_CHECKING:
    from headrace.service import Service

_CHUNK_LIMIT_S: Final = 3600.0  # nobody waits with a stop-watch; it only bounds a wait that would never end
_INPUT_FIELD: Final = re.compile(r"inputs\[(\d+)\]")
_CALLER: Final = Caller("local", frozenset(Scope))


async def embed_lines(
    loaded: LoadedSettings, model: str, options: Options, lines: Iterator[Line], advance: Callable[[], None]
) -> None:
    """Print one JSON object for each line.

    Args:
        loaded: All options.
        model: Name in the store.
        options: What was chosen about the embeddings.
        lines: Read as they are needed; a chunk of them is in memory at a time.
        advance: Called after each chunk.

    Raises:
        HeadraceError: A line or a text was refused; the message names its line, and those before it are printed.
    """
    loaded = _unlimited(loaded)
    size = min(loaded.settings.limits.max_inputs, loaded.settings.engine.max_queued_texts)
    index = 0
    async with app.open_service(loaded, [model]) as service:
        for chunk in chunked(lines, size):
            await _embed_chunk(service, options, chunk, index)
            index += len(chunk)
            advance()


def _unlimited(loaded: LoadedSettings) -> LoadedSettings:
    """Lift the rate: it protects a server from its callers, and here the only caller owns the machine."""
    limits = loaded.settings.limits.model_copy(update={"requests_per_s": None})
    return replace(loaded, settings=loaded.settings.model_copy(update={"limits": limits}))


async def _embed_chunk(service: "Service", options: Options, chunk: Sequence[Line], index: int) -> None:
    """Print the embeddings of a chunk, and if one text is refused, of those before it.

    Raises:
        HeadraceError: A text was refused; the message names its line.
    """
    request = Request(
        task="embed",
        inputs=tuple(line.text for line in chunk),
        caller=_CALLER,
        request_id=f"line-{chunk[0].number}",
        deadline=time.monotonic() + _CHUNK_LIMIT_S,
        options=options,
    )
    try:
        answer = await service.run(request)
    except HeadraceError as error:
        culprit = _INPUT_FIELD.fullmatch(error.field or "")
        if culprit is None:
            raise
        position = int(culprit[1])
        if position > 0:
            await _embed_chunk(service, options, chunk[:position], index)
        number = chunk[position].number
        raise type(error)(f"line {number}: {error.message}", field=f"line {number}") from error
    _write(answer, index)


def _write(answer: Answer, index: int) -> None:
    for offset, result in enumerate(answer.results):
        body = {
            "index": index + offset,
            "embedding": result.values,
            "tokens": result.tokens,
            "truncated": result.truncated,
        }
        # orjson writes a float32 with the digits it has; through float64 each would have some 17.
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
