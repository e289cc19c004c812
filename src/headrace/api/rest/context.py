"""What a route knows of its request: what all doors share, and who is calling."""

from typing import cast

from starlette.requests import Request

from headrace.api.context import Context
from headrace.api.credentials import shown_key
from headrace.api.rest.disconnect import ClientLeft
from headrace.auth.base import Credentials
from headrace.types import Caller


def context_of(request: Request) -> Context:
    """Return what the routes share."""
    return cast("Context", request.scope["state"]["context"])


async def identify(request: Request) -> None:
    """Ask the guard who is calling. Every route depends on this or on ``open_to_all``.

    Raises:
        CallerUnknown: No credentials, or wrong ones.
        ClientLeft: The client went away before it could be asked.
    """
    request.scope["state"]["caller"] = context_of(request).guard.identify(credentials_of(request))


def credentials_of(request: Request) -> Credentials:
    """Return what is known of who is calling.

    Raises:
        ClientLeft: As of ``identify``.
    """
    if request.client is None:  # the system knows no peer of a connection that was reset
        raise ClientLeft
    key = shown_key(request.headers.get("authorization"), request.headers.get("x-api-key"))
    return Credentials(peer=request.client.host, key=key)


def caller_of(request: Request) -> Caller:
    """Return who is calling, on a route that depends on ``identify``."""
    return cast("Caller", request.scope["state"]["caller"])


async def open_to_all(_request: Request) -> None:
    """Mark a route that anybody may use: it tells nothing of this server but that it is there."""
