"""What the routes share: the service, the guard and the settings, and who is calling."""

from dataclasses import dataclass
from typing import Protocol, cast

from starlette.requests import Request

from headrace.api.rest.disconnect import ClientLeft
from headrace.auth.base import Credentials, Guard
from headrace.errors import ServiceUnready
from headrace.keyring import Keyring
from headrace.observe.base import Observer
from headrace.readers import Readers
from headrace.service import Service
from headrace.settings import Settings
from headrace.types import Caller


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
    keyring: Keyring
    readers: Readers
    guard: Guard
    settings: Settings
    observer: Observer
    metrics: MetricsSource
    is_draining: bool = False


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
    return Credentials(peer=request.client.host, key=_shown_key(request))


def caller_of(request: Request) -> Caller:
    """Return who is calling, on a route that depends on ``identify``."""
    return cast("Caller", request.scope["state"]["caller"])


async def open_to_all(_request: Request) -> None:
    """Mark a route that anybody may use: it tells nothing of this server but that it is there."""


def require_ready(request: Request) -> None:
    """Let a probe pass if a request would be answered: every model has passed a real one, and the server does not stop.

    Raises:
        ServiceUnready: It would not.
    """
    context = context_of(request)
    if context.is_draining or not context.service.is_ready:
        raise ServiceUnready("the models are loading or the server is stopping; ask again later", retry_after_s=1)


def _shown_key(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return request.headers.get("x-api-key")
