"""The outermost layer of the REST door: what happens to every HTTP request before and after its route.

It gives the request its id, refuses a Host that is none of ours, turns every error into its answer (one that nobody
foresaw into a 500 without details), and states one fact about each response. It is plain ASGI, and calls the router
itself: FastAPI's own layers in between would catch errors a second time, and pass each part of an answer on four times.
"""

import asyncio
import functools
import ipaddress
import re
import time
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from headrace.api.allowance import KEY as ALLOWANCES
from headrace.api.allowance import allowance_headers
from headrace.api.context import Context
from headrace.api.remembered import TOLD as REMEMBERED
from headrace.api.request_ids import choose_request_id
from headrace.api.rest.compression import pack
from headrace.api.rest.disconnect import ClientLeft
from headrace.api.rest.headers import headers_of
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.refusals import ErrorShape
from headrace.api.rest.route import FixedRoutes, allowed_methods
from headrace.errors import (
    HeadraceError,
    HostForbidden,
    HostInvalid,
    LimitExceeded,
    MethodUnsupported,
    RouteUnknown,
    ServiceStopping,
)
from headrace.observe.base import REQUEST_ID, ResponseSent
from headrace.observe.traces import PARENT, TRACE, Trace

_CLIENT_LEFT: Final = 499  # nginx's number for the same
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::[0-9]{0,5})?")


class Edge:
    """Answers HTTP requests with the routes of an application.

    Args:
        routes: The application with the routes.
        context: What the routes share.
    """

    def __init__(self, routes: FastAPI, context: Context) -> None:
        self._routes = routes
        self._fixed = FixedRoutes(routes.router.routes)
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return  # no WebSocket is spoken here; the server closes the connection
        headers = headers_of(scope)
        trace = self._context.tracer.begin(headers.getlist)
        exchange = _Exchange(self._context, scope, send, choose_request_id(headers.get("x-request-id")), trace)
        before, traced_before = REQUEST_ID.set(exchange.request_id), TRACE.set(trace)
        try:
            check_host(headers.getlist("host"), local_only=self._context.guard.is_local)
            scope["app"] = self._routes
            route = self._fixed.find(scope)
            answer = self._routes.router if route is None else route.handle
            await answer(scope, receive, exchange.send)
        except asyncio.CancelledError:
            stopping = ServiceStopping("the server stopped before the answer was there; ask again", retry_after_s=1)
            await exchange.answer(_errors(scope).respond(stopping, exchange.request_id))
            raise
        except Exception as error:  # noqa: BLE001 - the last line: the client gets an answer, the log gets the rest
            await exchange.answer(_explain(error, scope, exchange.request_id))
        finally:
            exchange.finish()
            REQUEST_ID.reset(before)
            TRACE.reset(traced_before)


def _errors(scope: Scope) -> ErrorShape:
    """Return what errors look like to whom this route is for."""
    return getattr(scope.get("route"), "errors", PROBLEM)


def _explain(error: Exception, scope: Scope, request_id: str) -> Response:
    """Return the answer to a request that failed."""
    errors = _errors(scope)
    match error:
        case HeadraceError():
            if isinstance(error, LimitExceeded):
                scope["state"][ALLOWANCES] = error.allowances
            return errors.respond(error, request_id)
        case ClientLeft():
            return Response(status_code=_CLIENT_LEFT)  # nobody reads it: the status is for the log and the metrics
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):  # the router's own refusals get our shape
            unknown = RouteUnknown(f"nothing is at {scope['path'][:200]!r}; /docs lists the API")
            return errors.respond(unknown, request_id)
        case HTTPException():
            refused = f"{scope['path'][:200]!r} does not take {scope['method']}; /docs lists what it takes"
            response = errors.respond(MethodUnsupported(refused), request_id)
            response.headers["allow"] = allowed_methods(scope["app"].routes, scope["path"])
            return response
    structlog.get_logger().error("request.failed", exc_info=error)
    return errors.respond_unforeseen(request_id)


class _Exchange:
    """One request and its response."""

    def __init__(self, context: Context, scope: Scope, send: Send, request_id: str, trace: Trace | None) -> None:
        self._context = context
        self._scope = scope
        self._send = send
        self._started = time.monotonic()
        self._answered: float | None = None
        self.status = 0
        self.request_id = request_id
        self._trace = trace
        scope.setdefault("state", {}).update(request_id=request_id, context=context)

    async def send(self, message: Message) -> None:
        """Pass a part of the response on; the first part gets the headers that every response has."""
        if message["type"] == "http.response.start":
            self._answered = time.monotonic()
            self.status, state = message["status"], self._scope["state"]
            headers = [header for header in message["headers"] if header[0] != b"x-request-id"]
            headers.append((b"x-request-id", self.request_id.encode()))
            if self._trace is not None:
                headers.append((PARENT.encode(), self._trace.traceparent.encode()))
            if self._context.is_draining:
                headers.append((b"connection", b"close"))
            headers += allowance_headers(state.get(ALLOWANCES, ()))
            if REMEMBERED in state:
                headers.append((REMEMBERED.encode(), state[REMEMBERED].encode()))
            message["headers"] = headers
        await self._send(message)

    async def answer(self, response: Response) -> None:
        """Send a whole response, unless one has begun."""
        if self._answered is None:
            await pack(self._scope, response)
            await response(self._scope, _nothing, self.send)

    def finish(self) -> None:
        """State the fact."""
        route = self._scope.get("route")
        caller = self._scope["state"].get("caller")
        self._context.observer.observe(
            ResponseSent(
                route=getattr(route, "path", ""),
                method=self._scope["method"],
                path=self._scope["path"],
                status=self.status,
                request_id=self.request_id,
                caller=caller.name if caller else "",
                # An answer may go on for hours, as that which tells what happens: its time is that of its begin.
                duration_s=(self._answered or time.monotonic()) - self._started,
                trace=self._trace,
            )
        )


def check_host(values: list[str], *, local_only: bool) -> None:
    """Check the Host header.

    A malformed one makes frameworks build a URL whose path is not the one that was routed (CVE-2026-48710),
    so it is refused before anything looks at it.

    Args:
        values: All that were sent.
        local_only: Answer only for names of this machine. Set when no key protects the server: a page from elsewhere
            that a browser here is made to resolve to 127.0.0.1 must not reach it.

    Raises:
        HostInvalid: Not exactly one, or one that names no host.
        HostForbidden: One that is not this machine, while only this machine is answered.
    """
    found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise HostInvalid("send exactly one Host header with a host name or address and, if needed, a port")
    if local_only and not _is_local(found[1].strip("[]")):
        raise HostForbidden(
            "without API keys this server answers for localhost only; call it as 127.0.0.1, or set auth.keys"
        )


@functools.lru_cache(maxsize=64)  # a client sends the same name each time
def _is_local(host: str) -> bool:
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
