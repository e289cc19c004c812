"""The REST application: routes, dialects and error handlers put together."""

from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import headrace
from headrace.api.rest import native, system
from headrace.api.rest.body import ClientLeft
from headrace.api.rest.context import Context
from headrace.api.rest.edge import Edge
from headrace.api.rest.openapi import describe
from headrace.api.rest.problems import internal_problem, problem
from headrace.errors import HeadraceError, MethodUnsupported, RouteUnknown

_NOT_FOUND: Final = 404
_CLIENT_LEFT: Final = 499  # nginx's number for the same


def build_routes(context: Context) -> FastAPI:
    """Return the application with every route; the edge is not around it yet."""
    app = FastAPI(
        title="Headrace",
        version=headrace.__version__,
        description="Text models over REST. Errors are RFC 9457 problems with a stable `code`.",
        docs_url=None,  # served by us, from the installed package
        redoc_url=None,
        openapi_url=None,  # as above, behind the guard
        redirect_slashes=False,  # a path is one of ours or it is not
    )
    app.state.context = context
    for router in (native.router, system.probes, system.router, system.pages):
        app.include_router(router)
    app.add_exception_handler(HeadraceError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientLeft, _on_client_left)
    app.add_exception_handler(Exception, _on_unforeseen)
    app.openapi = describe(app)  # type: ignore[method-assign]
    return app


def build_app(context: Context, *, local_hosts_only: bool) -> ASGIApp:
    """Return the whole REST application."""
    return Edge(build_routes(context), context, local_hosts_only=local_hosts_only)


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HeadraceError):
        raise TypeError("registered for HeadraceError only") from error
    return problem(error, request.state.request_id)


async def _on_client_left(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the status is for the log and the metrics."""
    return Response(status_code=_CLIENT_LEFT)


async def _on_unforeseen(request: Request, _error: Exception) -> Response:
    """Answer without details; Starlette raises the error again, and the edge logs it."""
    return internal_problem(request.state.request_id)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Give the router's own refusals our shape."""
    path = request.scope["path"][:200]
    if getattr(error, "status_code", _NOT_FOUND) == _NOT_FOUND:
        return problem(RouteUnknown(f"nothing is at {path!r}; /docs lists the API"), request.state.request_id)
    response = problem(
        MethodUnsupported(f"{path!r} does not take {request.method}; /docs lists what it takes"),
        request.state.request_id,
    )
    response.headers.update(getattr(error, "headers", None) or {})
    return response
