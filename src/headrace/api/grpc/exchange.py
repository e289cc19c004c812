"""One call: who calls, until when, and how it ends. What the edge is to the REST door, this is to gRPC."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NoReturn, cast
from urllib.parse import unquote

import structlog
from grpc import StatusCode
from grpc.aio import InternalError, ServicerContext

from headrace.allowance import Allowance
from headrace.api.allowance import allowance_headers
from headrace.api.asked import Asked, Circumstances
from headrace.api.context import Context
from headrace.api.credentials import shown_key
from headrace.api.grpc.refusals import Refusal, refuse, refuse_unforeseen
from headrace.api.remembered import HEADER as ANEW
from headrace.api.remembered import TOLD as REMEMBERED
from headrace.api.remembered import may_recall, tell
from headrace.api.request_ids import choose_request_id
from headrace.api.routing import HEADER as ROUTING_KEY
from headrace.api.routing import check_routing_key
from headrace.auth.base import Credentials
from headrace.errors import CallerUnknown, HeadraceError, LimitExceeded
from headrace.observe.base import REQUEST_ID, CallEnded
from headrace.observe.traces import PARENT, TRACE
from headrace.types import Answer, Caller, Request

Rpc = ServicerContext[Any, Any]

_REQUEST_ID: Final = "x-request-id"
_DETAILS: Final = "grpc-status-details-bin"


class CallerLeft(Exception):
    """Nobody is there any more who would read an answer."""


class Exchange:
    """One call.

    Attributes:
        context: What the doors share.
        rpc: Of gRPC.
    """

    def __init__(self, context: Context, method: str, rpc: Rpc) -> None:
        self.context = context
        self.rpc = rpc
        self._caller: Caller | None = None
        self._method = method
        self._started = time.monotonic()
        self._metadata = _read_metadata(rpc)
        self._trailing: list[tuple[str, str | bytes]] = []
        self.request_id = choose_request_id(self.header(_REQUEST_ID))
        self._trace = context.tracer.begin(self._values)
        REQUEST_ID.set(self.request_id)  # each call is a task of its own, and so is its context
        TRACE.set(self._trace)

    def header(self, name: str) -> str | None:
        """Return the first value of a key of the metadata."""
        values = self._values(name)
        return values[0] if values else None

    def _values(self, name: str) -> Sequence[str]:
        return self._metadata.get(name, ())

    @property
    def caller(self) -> Caller:
        """Who calls, as the guard said last; raises as ``identify`` if it was not asked yet."""
        return self._caller or self.identify()

    def identify(self) -> Caller:
        """Ask the guard who is calling.

        Raises:
            CallerUnknown: No credentials, wrong ones, or several.
        """
        if len(self._values("authorization")) > 1:
            raise CallerUnknown("there are several authorizations; send exactly one")
        self._caller = self.context.guard.identify(self._credentials())
        return self._caller

    def tenant(self) -> str | None:
        """Return whose call it is; nothing if nobody's, or if all who may call are one."""
        return self.context.tenant_of(self._credentials())

    def _credentials(self) -> Credentials:
        key = shown_key(self.header("authorization"), self.header("x-api-key"))
        return Credentials(peer=peer_host(self.rpc.peer()), key=key)

    async def ask(self, asked: Asked) -> Answer:
        """Let the service answer.

        Raises:
            HeadraceError: Why there is no answer.
        """
        answer = await self.context.service.run(Request(**asked, **self._circumstances()))
        self._tell(answer.allowances)
        self._trailing.append((REMEMBERED, tell(answer)))
        return answer

    def _tell(self, allowances: Sequence[Allowance]) -> None:
        self._trailing = [(name.decode(), value.decode()) for name, value in allowance_headers(allowances)]

    def _circumstances(self) -> Circumstances:
        limit_s = self.context.settings.server.request_timeout_s
        left_s = cast("float | None", self.rpc.time_remaining())  # nothing of a caller that waits for ever
        return {
            "caller": self.caller,
            "request_id": self.request_id,
            "routing_key": check_routing_key(self.header(ROUTING_KEY)),
            "may_recall": may_recall(self._values(ANEW)),
            "deadline": time.monotonic() + (limit_s if left_s is None else min(limit_s, left_s)),
        }

    def refuse(self, error: Exception) -> Refusal:
        """Return how the call, or a request of its stream, ends with an error."""
        if isinstance(error, HeadraceError):
            if isinstance(error, LimitExceeded):
                self._tell(error.allowances)
            return refuse(error, self.request_id)
        structlog.get_logger().error("request.failed", exc_info=error)
        return refuse_unforeseen(self.request_id)

    async def send(self, data: bytes) -> None:
        """Send an answer of a stream.

        Raises:
            CallerLeft: Nobody reads it.
        """
        try:
            await self.rpc.write(data)
        except InternalError as error:
            raise CallerLeft from error

    def succeed(self) -> None:
        """End the call with an answer."""
        self.rpc.set_trailing_metadata(self._all_trailing())
        self._end(StatusCode.OK)

    async def fail(self, error: BaseException) -> NoReturn:
        """End the call without one.

        Raises:
            AbortError: Always, as gRPC has it; of a call whose caller has left, ``CancelledError``.
        """
        if not isinstance(error, Exception) or isinstance(error, CallerLeft):
            self._end(StatusCode.CANCELLED)
            raise asyncio.CancelledError from error
        refusal = self.refuse(error)
        self._end(refusal.status)
        await self.rpc.abort(refusal.status, refusal.message, (*self._all_trailing(), (_DETAILS, refusal.details)))

    def _all_trailing(self) -> tuple[tuple[str, str | bytes], ...]:
        told = [(PARENT, self._trace.traceparent)] if self._trace is not None else []
        return (*self._trailing, *told, (_REQUEST_ID, self.request_id))

    def _end(self, status: StatusCode) -> None:
        """State the fact."""
        self.context.observer.observe(
            CallEnded(
                method=self._method,
                status=status.name,
                request_id=self.request_id,
                caller=self._caller.name if self._caller else "",
                duration_s=time.monotonic() - self._started,
                trace=self._trace,
            )
        )


def _read_metadata(rpc: Rpc) -> dict[str, list[str]]:
    """Return the metadata; what is bytes is none of ours."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in rpc.invocation_metadata() or ():
        if isinstance(value, str):
            found[name].append(value)
    return found


def peer_host(peer: str) -> str | None:
    """Return the address of the other end, which gRPC calls ``ipv4:127.0.0.1:40000`` or ``ipv6:%5B::1%5D:40000``."""
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else None
