"""Health, as load balancers and Kubernetes ask for it: https://github.com/grpc/grpc/blob/master/doc/health-checking.md.

Anybody may ask. ``liveness`` serves as long as the process does; the server as a whole, ``readiness`` and each service
by its name serve while a request would be answered.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from grpc_health.v1 import health_pb2 as pb

from headrace.api.context import Context
from headrace.api.grpc.exchange import Exchange
from headrace.api.grpc.rpcs import Declarations, Declared, Send, Streamed, Unary
from headrace.errors import ReadersFull, RouteUnknown, ServiceUnready

_LOOK_S: Final = 0.5
# A watcher holds one of the calls that the server takes at once, and nobody who may call has to be known for it.
_MAX_WATCHERS: Final = 64
_LIVENESS: Final = "liveness"

_Status = pb.HealthCheckResponse


class Health:
    """Answers for services.

    Args:
        services: Full names of those that are served.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._known = frozenset({"", "readiness", *services})
        self._watchers = 0

    @property
    def declarations(self) -> Declarations:
        """The RPCs."""
        rpcs: Mapping[str, Declared] = {
            "Check": Unary(self._check, is_open=True),
            "Watch": Streamed(self._watch, is_open=True),
        }
        return {pb.DESCRIPTOR.services_by_name["Health"]: rpcs}

    async def _check(self, exchange: Exchange, message: pb.HealthCheckRequest) -> Any:
        status = self._status(exchange.context, message.service)
        if status == _Status.SERVICE_UNKNOWN:
            raise RouteUnknown(f"no service here is called {message.service[:80]!r}; leave it out for the whole server")
        return _Status(status=status)

    async def _watch(self, exchange: Exchange, messages: AsyncIterator[pb.HealthCheckRequest], send: Send) -> None:
        if self._watchers >= _MAX_WATCHERS:
            raise ReadersFull(f"{_MAX_WATCHERS} watch already; call Check now and then", retry_after_s=1)
        self._watchers += 1
        try:
            async for message in messages:
                await self._follow(exchange.context, message.service, send)
        finally:
            self._watchers -= 1

    async def _follow(self, context: Context, service: str, send: Send) -> None:
        """Send the status, and each time it changes; the last one when the server stops."""
        last = None
        while not context.is_draining:
            status = self._status(context, service)
            if status != last:
                await send(_Status(status=status))
                last = status
            await asyncio.sleep(_LOOK_S)
        await send(_Status(status=self._status(context, service)))

    def _status(self, context: Context, service: str) -> Any:
        if service == _LIVENESS:
            return _Status.SERVING
        if service not in self._known:
            return _Status.SERVICE_UNKNOWN
        try:
            context.require_ready()
        except ServiceUnready:
            return _Status.NOT_SERVING
        return _Status.SERVING
