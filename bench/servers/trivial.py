"""A server that answers the same bytes to everything: what the load generator reaches with it is its own limit.

Usage: python -m bench.servers.trivial PORT ANSWER_BYTES
"""

import asyncio
import sys
from typing import cast

import uvloop

_HEAD_END = b"\r\n\r\n"


class Trivial(asyncio.Protocol):
    """Counts bytes by content-length, and answers whenever a request is whole."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are whole."""
        self._received += data
        while (end := self._received.find(_HEAD_END)) >= 0:
            head = bytes(self._received[:end]).lower()
            _, _, rest = head.partition(b"content-length:")
            whole = end + len(_HEAD_END) + int(rest.split(b"\r\n", 1)[0] or 0)
            if len(self._received) < whole:
                return
            del self._received[:whole]
            if self._transport is not None:
                self._transport.write(self._answer)


async def serve(port: int, answer_bytes: int) -> None:
    """Serve until the process is ended."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {answer_bytes}\r\n\r\n".encode()
    answer = head + b"x" * answer_bytes
    server = await asyncio.get_running_loop().create_server(lambda: Trivial(answer), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
