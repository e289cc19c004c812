"""What the routes share: the service, the guard and the settings, and who is calling."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, cast

from fastapi import Depends
from starlette.requests import Request

from headrace.api.rest.body import ClientLeft
from headrace.auth.base import Credentials, Guard
from headrace.observe.base import Observer
from headrace.service import Service
from headrace.settings import Settings
from headrace.types import Caller

T = TypeVar("T")


class MetricsSource(Protocol):
    """Something that can show the metrics."""

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format, version 0.0.4."""
        ...


@dataclass(slots=True)
class Context:
    """What the routes share.

    Attributes:
        is_draining: Set when the server stops; each response then closes its connection.
    """

    service: Service
    guard: Guard
    settings: Settings
    observer: Observer
    metrics: MetricsSource
    is_draining: bool = False


def context_of(request: Request) -> Context:
    """Return what the routes share."""
    return cast("Context", request.app.state.context)


async def identify(request: Request) -> Caller:
    """Ask the guard who is calling. Every route depends on this or on ``open_to_all``.

    Raises:
        CallerUnknown: No credentials, or wrong ones.
        ClientLeft: The client went away before it could be asked.
    """
    if request.client is None:  # the system knows no peer of a connection that was reset
        raise ClientLeft
    caller = context_of(request).guard.identify(Credentials(peer=request.client.host, key=_shown_key(request)))
    request.state.caller = caller.name
    return caller


async def open_to_all() -> None:
    """Mark a route that anybody may use: it tells nothing of this server but that it is there."""


KnownCaller = Annotated[Caller, Depends(identify)]


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run work as long as the client waits for it.

    Raises:
        ClientLeft: The client went away; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # the body was read: what comes next is that the client leaves
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:  # also when this request is cancelled, as at the end of a drain
        gone.cancel()
        task.cancel()


def _shown_key(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return request.headers.get("x-api-key")
