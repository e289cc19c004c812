"""What happens to a call: its list is cut into requests, some are asked at a time, and their answers put together."""

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast

import numpy as np

from headrace.client.base import ModelShown, Part, Question, Transport
from headrace.client.parts import Bounds, Piece, check_labels, measure, split
from headrace.client.retrying import Retrying, elapsed
from headrace.errors import AnswerMixed, HeadraceError, RequestInvalid, RequestTooLarge
from headrace.options import Options
from headrace.tasks.base import shift_input
from headrace.tasks.rerank import choose_best
from headrace.types import FloatArray, Ranking, Result, TaskName

R = TypeVar("R")

# Half of what a server takes by default (server.max_body_bytes); the rest is for a query, labels and a gateway's own.
_MAX_BYTES: Final = 1 << 20
_TOO_MANY: Final = frozenset({None, "inputs", "labels"})  # what is said to be too large where fewer texts help


@dataclass(frozen=True, slots=True)
class Limits:
    """How a client asks.

    Attributes:
        timeout_s: For one request, all its attempts included.
        retries: How often one request is repeated at most.
        max_inputs: Texts of one request at most.
        max_requests: At once, of all calls together.
    """

    timeout_s: float = 30.0  # what a server takes by default (server.request_timeout_s)
    retries: int = 3
    max_inputs: int = 256  # limits.max_inputs
    max_requests: int = 8  # keeps two sessions busy while answers travel


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller wants.

    Attributes:
        options: By name; nothing for one that is left open.
        within_s: Seconds that the caller waits for all of it; for ever if it does not say.
    """

    task: TaskName
    texts: Sequence[str]
    options: Mapping[str, Any]
    model: str | None = None
    within_s: float | None = None
    query: str | None = None
    labels: Sequence[str] = ()
    routing_key: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Return how much longer the caller waits, in seconds."""
        return math.inf if self.within_s is None else max(0.0, self.began + self.within_s - time.monotonic())

    def question(self, inputs: tuple[str, ...]) -> Question:
        """Return what is asked of a part of the texts."""
        return Question(
            task=self.task,
            inputs=inputs,
            model=self.model,
            query=self.query,
            labels=tuple(self.labels),
            options={name: value for name, value in self.options.items() if value is not None},
            routing_key=self.routing_key,
        )


class Asking:
    """Asks a server, for many callers at once, on one event loop.

    Args:
        transport: The way to the server.
        limits: How it is asked.
        retrying: Whether it is asked again; by default as the limits say.
    """

    def __init__(self, transport: Transport, limits: Limits, retrying: Retrying | None = None) -> None:
        self._transport = transport
        self._limits = limits
        self._retrying = retrying or Retrying(limits.retries)
        self._bounds = Bounds(limits.max_inputs, _MAX_BYTES)
        self._places = asyncio.Semaphore(limits.max_requests)

    async def embed(self, call: Call) -> FloatArray:
        """Return the texts as vectors, shape ``(n, d)``, float32."""
        parts = await self._gather(call, self._transport.embed)
        return np.concatenate([part.results for _, part in parts]) if parts else np.empty((0, 0), np.float32)

    async def ask(self, call: Call) -> list[Result]:
        """Return the results: one for each text, or of a ranking as many as were asked for, the best first."""
        parts = await self._gather(call, self._transport.ask)
        if call.task != "rerank":
            return [result for _, part in parts for result in part.results]
        ranked = [
            replace(each, index=start + each.index)
            for start, part in parts
            for each in cast("list[Ranking]", part.results)
        ]
        return list(choose_best(ranked, Options(top_k=call.options.get("top_k")))) if ranked else []

    async def list_models(self) -> list[ModelShown]:
        """Return the models that the caller may use, the default first."""
        return await self._retrying.run(self._transport.list_models, self._limits.timeout_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _gather(
        self, call: Call, ask: Callable[[Question, float], Awaitable[Part[R]]]
    ) -> list[tuple[int, Part[R]]]:
        """Return the answers to all parts of a list, with the index at which each begins; one that fails ends all."""
        _check(call)
        found: list[tuple[int, Part[R]]] = []

        async def work(piece: Piece) -> None:
            found.extend(await self._ask_piece(call, piece, self._bounds, ask))

        try:
            async with asyncio.timeout(call.within_s), asyncio.TaskGroup() as tasks:
                for piece in split(call.texts, len(call.labels), lambda: self._bounds):
                    await self._places.acquire()
                    # Not in the task, which never runs if it is cancelled before it begins.
                    tasks.create_task(work(piece)).add_done_callback(lambda _: self._places.release())
        except TimeoutError as error:
            raise elapsed(call.within_s or 0.0) from error
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
            raise first from first.__cause__
        found.sort(key=lambda each: each[0])
        _check_revisions([part for _, part in found])
        return found

    async def _ask_piece(
        self, call: Call, piece: Piece, bounds: Bounds, ask: Callable[[Question, float], Awaitable[Part[R]]]
    ) -> list[tuple[int, Part[R]]]:
        """Return the answer to a part, or those to parts of it, if it is more than the server takes at once.

        Args:
            call: What the caller wants.
            piece: The part.
            bounds: That it keeps. If it is taken, the next ones are made so from the start.
            ask: Asks once.
        """
        question, labels = call.question(piece.texts), len(call.labels)
        timeout_s = min(self._limits.timeout_s, call.left_s())
        try:
            part = await self._retrying.run(lambda left_s: ask(question, left_s), timeout_s)
        except HeadraceError as error:
            is_too_many = isinstance(error, RequestTooLarge) and error.field in _TOO_MANY
            if not is_too_many or len(piece.texts) == 1:
                raise shift_input(error, piece.start) from error.__cause__
            bounds = bounds.narrowed(error.field, piece, labels)
        else:
            self._bounds = self._bounds.within(bounds)
            return [(piece.start, part)]
        smaller = split(piece.texts, labels, lambda: bounds, piece.start)
        return [answer for each in smaller for answer in await self._ask_piece(call, each, bounds, ask)]


def _check(call: Call) -> None:
    """Check what no list of a server's could name: it would be sent as something else.

    Raises:
        RequestInvalid: The texts or labels are one text, or an option has a value that cannot be sent.
    """
    for name, given in (("inputs", call.texts), ("labels", call.labels)):
        if isinstance(given, str):
            raise RequestInvalid(f"{name} is one text; put it in a list", field=name)
    check_labels(call.labels)
    for name, text in (("query", call.query), ("model", call.model)):
        if text is not None:
            measure(text, name)
    for name, value in call.options.items():
        is_sent = value is None or (isinstance(value, str | int | float) and not _is_odd(value))
        if not is_sent:
            raise RequestInvalid(
                f"options.{name} is no number, text or truth that JSON can have; send one", field=f"options.{name}"
            )


def _is_odd(value: str | float) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _check_revisions(parts: Sequence[Part[Any]]) -> None:
    revisions = {part.revision for part in parts}
    if len(revisions) > 1:
        raise AnswerMixed(
            f"the model changed in the middle of the list, which {len(revisions)} of its versions answered; ask again,"
            " or name one of them as name@version",
            field="model",
        )
