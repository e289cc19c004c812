"""A way to a server that can be slow, dead or shut, on a port of the loopback interface."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

Fault = Literal["none", "blackhole", "refuse", "slow"]
_SLOW_S = 0.05  # an answer of a new connection takes three of these


class Proxy:
    """Passes on what is sent, as long as there is no fault.

    Attributes:
        fault: ``blackhole`` takes what is sent and says nothing; ``refuse`` closes; ``slow`` holds each answer back.
        port: Where it listens.
        connections: How many were opened so far.
    """

    def __init__(self, target: int) -> None:
        self.fault: Fault = "none"
        self.port = 0
        self.connections = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def break_with(self, fault: Fault) -> None:
        """Have a fault from now on; one that refuses closes what is open."""
        self.fault = fault
        if fault == "refuse":
            for writer in list(self._open):
                writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with contextlib.suppress(OSError):
            async with self._held(writer):
                if self.fault != "refuse":
                    there, back = await asyncio.open_connection("127.0.0.1", self._target)
                    async with self._held(back):
                        await asyncio.gather(
                            self._pump(reader, back, is_answer=False), self._pump(there, writer, is_answer=True)
                        )
        self._serving.discard(task)

    @contextlib.asynccontextmanager
    async def _held(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool) -> None:
        while data := await source.read(1 << 16):
            while self.fault == "blackhole":
                await asyncio.sleep(0.01)
            if self.fault == "slow" and is_answer:
                await asyncio.sleep(_SLOW_S)
            target.write(data)
            await target.drain()
        target.close()

    async def end(self) -> None:
        """Close everything."""
        self.fault = "none"  # what waits goes on, and finds that it is over
        while self._serving:
            for writer in list(self._open):
                writer.transport.abort()
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def proxy_to(target: int) -> AsyncIterator[Proxy]:
    """Give a way to a port of this machine."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
