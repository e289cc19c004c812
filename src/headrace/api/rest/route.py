"""A route that asks its guard and calls its function, and does nothing else.

FastAPI goes through the parameters of a function and of its dependencies again for each request, and opens three stacks
for what they may leave behind. With functions that take the request and read the rest themselves, nothing comes of it,
and it takes as long as all that we do.
"""

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_Check = Callable[[Request], Awaitable[None]]


class DirectRoute(APIRoute):
    """A route whose function takes the request, and what its path has in braces as text.

    What it depends on comes first, in that order: asynchronous functions of the request, which return nothing. FastAPI
    describes it from the same declaration.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is this route's."""
        if scope["method"] in (self.methods or ()):
            response = await self._call(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # refuses it

    async def _call(self, request: Request) -> Response:
        for depends in self.dependencies:
            await cast("_Check", depends.dependency)(request)
        return cast("Response", await self.endpoint(request, **request.path_params))
