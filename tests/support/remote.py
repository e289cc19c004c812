"""An engine at the other end of a real socket, in one process: what another machine would be."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from headrace.engine.base import Engine
from headrace.engine.outbox import Outbox
from headrace.engine.remote import Connect
from headrace.engine.wire import Message, Ready, cut
from headrace.engine.worker import Connection, FactSender
from headrace.observe.base import Observer


def connect_to(make_engine: Callable[[Observer], Engine], family: socket.AddressFamily) -> Connect:
    """Return what connects to a new engine over TCP or a Unix socket pair."""

    async def connect(make_protocol: Callable[[], asyncio.Protocol]) -> None:
        ours, theirs = socket.socketpair() if family == socket.AF_UNIX else await tcp_pair()
        task = asyncio.create_task(_serve(theirs, make_engine))
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)
        await asyncio.get_running_loop().create_connection(make_protocol, sock=ours)

    return connect


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message, nothing if the other end hung up."""
    data = b""
    while True:
        message, end = cut(data, 0)
        if message is not None:
            return message
        try:
            data += await reader.readexactly(end - len(data))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


async def all_hung_up() -> None:
    """Wait until every engine at the other end has noticed that nobody is here any more."""
    if _TASKS:
        await asyncio.wait(_TASKS)


_TASKS: set[asyncio.Task[None]] = set()


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        ours = socket.socket()
        ours.setblocking(False)
        await loop.sock_connect(ours, listener.getsockname())
        theirs, _ = await loop.sock_accept(listener)
        return ours, theirs


async def _serve(theirs: socket.socket, make_engine: Callable[[Observer], Engine]) -> None:
    outbox = Outbox()
    engine = make_engine(FactSender(outbox))
    await engine.start()
    outbox.send(Ready())
    try:
        await Connection(engine, outbox).serve(theirs)
    finally:
        await engine.aclose()
        outbox.close()
        await asyncio.sleep(0)  # the transport lets go of its socket in the next turn


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Connect, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give what connects, and the other end of it for a test to play the engine."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)

    async def connect(make_protocol: Callable[[], asyncio.Protocol]) -> None:
        await asyncio.get_running_loop().create_connection(make_protocol, sock=ours)

    yield connect, reader, writer
    ours.close()  # if nobody has connected
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
