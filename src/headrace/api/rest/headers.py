"""The headers of a request, found by their name instead of searched from the first to the last each time.

A request is asked for some ten of its headers, by the edge, the guard, the routes and whoever reads its body.
"""

from typing import Any, Final, TypeVar, overload

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

_SCOPE_KEY: Final = "headrace.headers"


class FoundHeaders(Headers):
    """Headers that are only read."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._found: dict[bytes, list[bytes]] = {}
        for name, value in self._list:
            self._found.setdefault(name, []).append(value)

    def getlist(self, key: str) -> list[str]:
        """Return all values of a header, in their order."""
        return [value.decode("latin-1") for value in self._found.get(key.lower().encode("latin-1"), ())]

    @overload
    def get(self, key: str) -> str | None: ...
    @overload
    def get(self, key: str, default: str | T) -> str | T: ...
    def get(self, key: str, default: Any = None) -> Any:
        """Return the first value of a header."""
        found = self._found.get(key.lower().encode("latin-1"))
        return found[0].decode("latin-1") if found else default


def headers_of(scope: Scope) -> FoundHeaders:
    """Return the headers of a request; looked through when they are first asked for."""
    found: FoundHeaders | None = scope.get(_SCOPE_KEY)
    if found is None:
        found = scope[_SCOPE_KEY] = FoundHeaders(scope)
    return found


class HeadedRequest(Request):
    """A request whose headers were looked through once, also for who had them before."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self._headers = headers_of(scope)  # where Starlette keeps those that it has made
