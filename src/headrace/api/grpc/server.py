"""The gRPC server: bounded in what it takes, bound before models are loaded, and stopped without losing a call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final, cast

import grpc

from headrace.api.context import Context
from headrace.api.grpc import native, open_inference, tei
from headrace.api.grpc.health import Health
from headrace.api.grpc.reflection import reflect
from headrace.api.grpc.rpcs import Declarations, Gate, GuardedHandlers
from headrace.errors import PortTaken
from headrace.settings import ServerSettings
from headrace.tls import Pems, Tls

# Calls at once, streams included: each may hold a message of ``server.max_body_bytes``.
_MAX_CALLS: Final = 2048
_MAX_STREAMS: Final = 1024  # of one connection
# Of a stream, that is taken in before it is read. Left to itself gRPC makes it as long as the line is fast: 4 MiB on
# this machine's own, for each stream of a client that only sends.
_LOOK_AHEAD: Final = 256 << 10
_PING_MS: Final = 60_000  # after which a connection that says nothing is asked whether it is there
_LEAST_PING_MS: Final = 10_000  # between pings of a client; gRPC would hang up on one that pings more than every 5 min
_SERVED: Final[Declarations] = {**native.SERVICES, **open_inference.SERVICES, **tei.SERVICES}


def declare() -> Declarations:
    """Return every RPC of the server."""
    names = [service.full_name for service in _SERVED]
    health = Health(names).declarations
    return {**_SERVED, **health, **reflect([*names, *(service.full_name for service in health)])}


def _configure(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], root_certificates=pems.clients)


class GrpcServer:
    """Answers calls on a port.

    A message that is compressed is refused (``UNIMPLEMENTED``): gRPC checks its size before it is unpacked, not after.

    Args:
        settings: Of the server; the limits of the REST door hold here as well.

    Raises:
        PortTaken: Another process listens there.
    """

    def __init__(self, settings: ServerSettings, tls: Tls | None = None) -> None:
        self._settings = settings
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=[
                ("grpc.so_reuseport", 0),  # two servers would share a port, and each get half of the calls
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),  # an answer is as long as it is
                ("grpc.max_metadata_size", settings.max_header_bytes),
                ("grpc.absolute_max_metadata_size", settings.max_header_bytes),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.compression_enabled_algorithms_bitset", 1),  # none
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _LOOK_AHEAD),
                ("grpc.keepalive_time_ms", _PING_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MS),
            ],
        )
        where = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self.port = self._bind(f"{where}:{settings.grpc_port}", tls)
        except RuntimeError as error:
            raise PortTaken(
                f"cannot listen on {where}:{settings.grpc_port} for gRPC; stop what listens there, or choose another"
                " --grpc-port"
            ) from error
        self.address = f"{where}:{self.port}"

    def _bind(self, address: str, tls: Tls | None) -> int:
        if tls is None:
            return self._server.add_insecure_port(address)

        given = tls.current()

        def renew() -> grpc.ServerCertificateConfiguration | None:
            """Return what a connection that begins is to have, if that is something new; on a thread of gRPC's."""
            nonlocal given
            before, given = given, tls.current()
            return None if given is before else _configure(given)

        credentials = grpc.dynamic_ssl_server_credentials(
            _configure(given),
            cast("Any", renew),  # whose stub knows no answer but a new one
            require_client_authentication=given.clients is not None,
        )
        return self._server.add_secure_port(address, credentials)

    @contextlib.asynccontextmanager
    async def serving(self, context: Context, stop: asyncio.Event) -> AsyncIterator[None]:
        """Answer calls until ``stop`` is set, or the block ends; what was begun then is answered before it ends."""
        handlers = GuardedHandlers(context, declare())
        self._server.add_generic_rpc_handlers((handlers,))
        await self._server.start()
        stopping = asyncio.create_task(self._stop_on(stop, handlers.gate))
        try:
            yield
        finally:
            stop.set()
            await stopping

    async def _stop_on(self, stop: asyncio.Event, gate: Gate) -> None:
        """Stop in steps: callers are answered until probes have told them, then told so, then shut out.

        gRPC itself tells a call that comes while it stops ``CANCELLED``, which no client takes as a hint to ask again.
        """
        await stop.wait()
        await asyncio.sleep(self._settings.linger_s)
        gate.shut()
        await asyncio.sleep(self._settings.linger_s)
        await self._server.stop(self._settings.drain_timeout_s)
