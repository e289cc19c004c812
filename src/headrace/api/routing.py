"""Whom a request belongs to, while a version of a model is tried out: requests of one key get one version."""

from typing import Any, Final

from headrace.errors import RequestInvalid

HEADER: Final = "x-routing-key"
_MAX_KEY: Final = 256

ROUTING_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Such as a user or a session. Requests with the same key are answered by the same version of a model"
    " while another one is tried out as a canary; without a key, each request is drawn by itself.",
    "schema": {"type": "string", "maxLength": _MAX_KEY, "examples": ["user-17"]},
}
"""For the OpenAPI document."""


def check_routing_key(key: str | None) -> str | None:
    """Return the key of a request, if it has one.

    Raises:
        RequestInvalid: It is too long.
    """
    if key is not None and len(key) > _MAX_KEY:
        raise RequestInvalid(f"{HEADER} has {len(key)} characters; at most {_MAX_KEY} are read", field=HEADER)
    return key or None
