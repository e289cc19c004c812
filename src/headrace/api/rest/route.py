"""A route that asks its guard and calls its function, and does nothing else.

FastAPI goes through the parameters of a function and of its dependencies again for each request, and opens three stacks
for what they may leave behind. With functions that take the request and read the rest themselves, nothing comes of it,
and it takes as long as all that we do.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, cast

from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from headrace.api.rest.compression import pack
from headrace.api.rest.headers import HeadedRequest
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.refusals import ErrorShape


class _Rest(Convertor[str]):
    """All that is left of a path, of any characters: what Starlette calls a path ends at a line break."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())

_Check = Callable[[Request], Awaitable[None]]


class DirectRoute(APIRoute):
    """A route whose function takes the request, and what its path has in braces as text.

    What it depends on comes first, in that order: asynchronous functions of the request, which return nothing. FastAPI
    describes it from the same declaration.

    Subclassed by a dialect whose errors are other ones.

    Attributes:
        errors: What its errors look like.
    """

    errors: ClassVar[ErrorShape] = PROBLEM

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is this route's."""
        if scope["method"] in (self.methods or ()):
            response = await self._call(HeadedRequest(scope, receive, send))
            await pack(scope, response)
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # refuses it

    async def _call(self, request: Request) -> Response:
        for depends in self.dependencies:
            await cast("_Check", depends.dependency)(request)
        return cast("Response", await self.endpoint(request, **request.path_params))


class FixedRoutes:
    """The routes whose paths have nothing in braces: looked up, while a router tries one expression after the other.

    Args:
        routes: All routes, in the router's order.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes: dict[tuple[str, str], DirectRoute] = {}
        for route in routes:
            if isinstance(route, DirectRoute) and not route.param_convertors:
                for method in route.methods or ():
                    if _first(routes, method, route.path) is route:
                        self._routes[method, route.path] = route

    def find(self, scope: Scope) -> DirectRoute | None:
        """Return the route of a request, and let its scope say so as a router would; nothing if it is none of these."""
        route = self._routes.get((scope["method"], scope["path"]))
        if route is not None:
            scope.update(route=route, endpoint=route.endpoint, path_params={})
        return route


def allowed_methods(routes: Sequence[BaseRoute], path: str) -> str:
    """Return the methods that a path takes, as the header ``Allow`` has them: a router tells those of one route."""
    methods = {
        method
        for route in routes
        if isinstance(route, DirectRoute)
        for method in route.methods or ()
        if _is_at(route, method, path)
    }
    return ", ".join(sorted(methods))


def _is_at(route: BaseRoute, method: str, path: str) -> bool:
    return route.matches({"type": "http", "method": method, "path": path})[0] is Match.FULL


def _first(routes: Sequence[BaseRoute], method: str, path: str) -> BaseRoute | None:
    """Return the route that a router chooses."""
    return next((route for route in routes if _is_at(route, method, path)), None)
