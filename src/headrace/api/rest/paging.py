"""Lists that come in pages: how many of them, and after which."""

from typing import Any, Final

from starlette.requests import Request

from headrace.api.rest.query import read_query
from headrace.errors import RequestInvalid

_DEFAULT: Final = 50
_MOST: Final = 500

LIMIT: Final[dict[str, Any]] = {
    "name": "limit",
    "in": "query",
    "required": False,
    "description": "At most so many.",
    "schema": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _DEFAULT},
}
"""For the OpenAPI document."""


def cursor(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe where a page begins."""
    described = "Begin where the page before ended: its ``next``."
    return {"name": "cursor", "in": "query", "required": False, "description": described, "schema": schema}


def read_page(request: Request) -> tuple[int, str | None]:
    """Return how many are asked for, and where the page begins.

    Raises:
        RequestInvalid: Not so many can be had, or something else is asked for.
    """
    given = read_query(request, ("limit", "cursor"))
    limit = given.get("limit", str(_DEFAULT))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= _MOST):
        raise RequestInvalid(f"limit is {limit[:80]!r}; it must be 1 to {_MOST}", field="limit")
    return int(limit[:9]), given.get("cursor")
