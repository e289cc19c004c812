"""A small HTTP/1.1 client for load: one request at a time on a kept connection, and nothing it does not need.

General clients cost about as much CPU as a fast server, and both share the machine's cores here. With streams
of asyncio the generator took 10 to 20 % more.
"""

import asyncio
from typing import Final, cast

import httptools

MAX_ANSWER_BYTES: Final = 64 << 20


class AnswerInvalid(Exception):
    """What came back is no HTTP/1.1 answer that this client reads."""


class _Connection(asyncio.Protocol):
    """An open connection; gives the answer to one request at a time."""

    def __init__(self) -> None:
        self.is_kept = True
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._fail(ConnectionResetError("the server hung up"))
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.is_kept = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(AnswerInvalid(f"{data[:80]!r} is no answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_kept = False
        self._fail(exc or asyncio.IncompleteReadError(b"", None))

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self._fail(AnswerInvalid(f"the answer has more than {MAX_ANSWER_BYTES} bytes"))
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), b"".join(self._parts)
        self.is_kept = self._parser.should_keep_alive()
        self._parts, self._size = [], 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Client:
    """One connection to 127.0.0.1, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: _Connection | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request and return the status and the body.

        Raises:
            OSError: The connection failed.
            asyncio.IncompleteReadError: The server hung up in the middle.
            AnswerInvalid: The answer is none that this client reads.
        """
        if self._connection is None:
            opened = asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
            _, self._connection = await opened
        connection = self._connection
        try:
            answer = await connection.ask(request)
        except BaseException:  # also when cancelled: a connection in the middle of an answer cannot be used again
            self.close()
            raise
        if not connection.is_kept:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
