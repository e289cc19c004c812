"""The HTTP server: uvicorn, with a port that is bound first and a stop that loses nothing."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from headrace.api.context import Context
from headrace.api.rest.app import SHEDDABLE
from headrace.api.rest.protocol import BoundedProtocol
from headrace.api.rest.shed import Shedder
from headrace.errors import PortTaken, SettingInvalid
from headrace.settings import ServerSettings
from headrace.tls import Tls

# Connections that wait to be accepted; the kernel drops what is over it, and its caller tries again after 1, 3 and 7 s.
_BACKLOG: Final = 4096  # Linux allows no more unless net.core.somaxconn is raised
_KEEP_ALIVE_S: Final = 75  # longer than the 60 s that nginx keeps a connection to us, so it never meets a closed one
_POLL_S: Final = 0.02


def bind(settings: ServerSettings) -> socket.socket:
    """Bind the address, before models are loaded: a port in use is known at once.

    Raises:
        PortTaken: Another process listens there.
        SettingInvalid: The address cannot be used.
    """
    with contextlib.ExitStack() as on_failure:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except (OSError, UnicodeError) as error:
            raise _explain(error, settings) from error
        on_failure.pop_all()
    listener.setblocking(False)
    return listener


def _explain(error: OSError | UnicodeError, settings: ServerSettings) -> PortTaken | SettingInvalid:
    where = f"{settings.host}:{settings.port}"
    if not isinstance(error, OSError):
        return SettingInvalid(f"{settings.host[:80]!r} is no host name; choose another --host", field="server.host")
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"another process listens on {where}; stop it, or choose another --port")
    return SettingInvalid(f"cannot listen on {where!r}: {error.strerror}; choose another --host or --port")


def base_url(listener: socket.socket, *, is_safe: bool = False) -> str:
    """Return the URL of a bound socket; an address that means all of them is shown as this machine's own."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown, not bound
    scheme = "https" if is_safe else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class RestServer(uvicorn.Server):
    """Serves an application on a bound socket until it is told to stop.

    Stopping: the listener is closed; requests that run are answered, each answer closing its connection; idle
    connections stay open for a moment, so that a request already on its way is still answered; then the rest
    is closed, and what runs longer than the drain limit is cancelled with a 503. Who follows the events is told, and
    waited for no longer than a second or two.
    """

    def __init__(self, app: ASGIApp, context: Context, tls: Tls | None = None) -> None:
        settings = context.settings.server
        filled_in = {
            "max_header_bytes": settings.max_header_bytes,
            "receive_timeout_s": settings.receive_timeout_s,
            "refuse": staticmethod(Shedder(context, SHEDDABLE).refuse),
        }
        super().__init__(
            uvicorn.Config(
                app,
                http=type("Protocol", (BoundedProtocol,), filled_in),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody is trusted to say who the client is
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
                ssl_context_factory=None if tls is None else lambda _config, _default: tls.context(),
            )
        )
        self._context = context
        self._linger_s = settings.linger_s
        self._on_started: Callable[[], None] = lambda: None

    async def run_on(self, listener: socket.socket, stop: asyncio.Event, on_started: Callable[[], None]) -> None:
        """Serve until ``stop`` is set and everything accepted is answered."""
        self._on_started = on_started
        waiter = asyncio.create_task(self._exit_on(stop))
        try:
            await self.serve([listener])
        finally:
            waiter.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the application: uvicorn would die of a SIGTERM after its clean stop."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        try:
            await super().startup(sockets)
        except OSError as error:  # a server that was bound at the same time listens since a moment ago
            raise _explain(error, self._context.settings.server) from error
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as the class says."""
        for server in self.servers:
            server.close()
        limit = time.monotonic() + self._linger_s
        while self.server_state.connections and time.monotonic() < limit:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(_POLL_S)
        await super().shutdown(sockets)

    async def _exit_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._context.is_draining = True
        self._context.readers.stop()
        self.should_exit = True
