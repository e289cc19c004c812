"""Does a request once, however often it comes: who has no answer asks again under the same key, and gets the first one.

A key is the caller's own: nobody else's request has it. That a request begins is kept before it begins, so that of two
at the same time, at whichever replicas, one runs. One that fails is forgotten, since nothing was done. One whose server
stopped in the middle is not run again: nobody knows how far it came.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from headrace.auth.base import require
from headrace.errors import (
    HeadraceError,
    IdempotencyLost,
    IdempotencyReused,
    IdempotencyRunning,
    RecordsUnusable,
)
from headrace.records.base import IdempotentRequest, Records
from headrace.types import Caller, Scope

KEPT: Final = timedelta(hours=24)
"""For which a request is known again."""
MOST: Final = 1000
"""Requests of one caller that are known at a time; each takes a few hundred bytes."""
_LONGEST: Final = timedelta(minutes=10)  # to load and compare a large model takes two or three
_AGAIN_S: Final = 1.0


class Turn:
    """A request that runs now, or ran before.

    Attributes:
        answer: Of the first time; nothing if this is the first.
    """

    __slots__ = ("answer", "kept")

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.kept: bytes | None = None

    def keep(self, answer: bytes) -> None:
        """Let this be the answer from now on; it must hold no secret."""
        self.kept = answer


class Idempotency:
    """Requests that are done once.

    Args:
        records: Where they are kept, for all replicas.
        clock: Tells the time.
    """

    def __init__(self, records: Records, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._records = records
        self._clock = clock

    @contextlib.asynccontextmanager
    async def turn(self, caller: Caller, scope: Scope, key: str, asked: bytes) -> AsyncIterator[Turn]:
        """Give a request its turn, whose block runs it and keeps its answer unless there is one.

        Args:
            caller: Who asks.
            scope: Without which the caller may not ask for this: nothing is kept for it.
            key: What the caller calls the request.
            asked: All that makes it another request.

        Raises:
            AccessDenied: The caller has not that scope.
            IdempotencyRunning: It runs at this time.
            IdempotencyLost: It began and did not end.
            IdempotencyReused: The key was that of another request.
            IdempotencyFull: The caller has too many.
            RecordsUnusable: They cannot be read or written; the block does not run.
        """
        require(caller, scope)
        request = IdempotentRequest(
            tenant=caller.tenant, caller=caller.name, key=_digest(key.encode()), asked=_digest(asked), at=self._clock()
        )
        since = request.at - KEPT
        known = await asyncio.to_thread(self._records.begin, request, since=since, most=MOST)
        if known is not None:
            yield Turn(self._recall(known, request))
            return
        turn = Turn(None)
        try:
            yield turn
        except HeadraceError:
            await self._end(request, None)
            raise
        await self._end(request, turn.kept)

    def _recall(self, known: IdempotentRequest, request: IdempotentRequest) -> bytes:
        """Return the answer of a request that was there before."""
        if known.asked != request.asked:
            raise IdempotencyReused(
                "this idempotency key was sent with another request; take a new one for each", field="idempotency-key"
            )
        if known.answer is not None:
            return known.answer
        if request.at - known.at < _LONGEST:
            raise IdempotencyRunning(
                "a request with this idempotency key is running; ask again in a moment",
                field="idempotency-key",
                retry_after_s=_AGAIN_S,
            )
        raise IdempotencyLost(
            "a request with this idempotency key began and never ended, as when its server stops; look at what it did,"
            " and send a new key if it is still to be done",
            field="idempotency-key",
        )

    async def _end(self, request: IdempotentRequest, answer: bytes | None) -> None:
        try:
            await asyncio.to_thread(self._records.end, request, answer)
        except RecordsUnusable as error:
            # What was asked for is done or failed, which its caller is to hear; who asks again hears that it is lost.
            structlog.get_logger().warning("idempotency.unkept", caller=request.caller, reason=error.message)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
