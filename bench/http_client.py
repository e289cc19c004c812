"""A small HTTP/1.1 client for load: one request at a time on a kept connection, and nothing it does not need.

General clients cost about as much CPU as a fast server, and both share the machine's cores here.
"""

import asyncio
from typing import Final

MAX_ANSWER_BYTES: Final = 64 << 20
_HEAD_END: Final = b"\r\n\r\n"


class AnswerInvalid(Exception):
    """What came back is no HTTP/1.1 answer that this client reads."""


def parse_head(head: bytes) -> tuple[int, int | None, bool]:
    """Return status, content length (nothing if the body is chunked) and whether the connection is kept.

    Raises:
        AnswerInvalid: It is no head of an answer, or its body's length is unknown or too large.
    """
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004 - version, status
        raise AnswerInvalid(f"{first[:80]!r} is no status line")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    is_kept = headers.get(b"connection", b"").lower() != b"close" and words[0] == b"HTTP/1.1"
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return int(words[1]), None, is_kept
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or int(length) > MAX_ANSWER_BYTES:
        raise AnswerInvalid(f"content-length is {length[:80]!r}; at most {MAX_ANSWER_BYTES} bytes are read")
    return int(words[1]), int(length), is_kept


class Client:
    """One connection to 127.0.0.1, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request and return the status and the body.

        Raises:
            OSError: The connection failed.
            asyncio.IncompleteReadError: The server hung up in the middle.
            AnswerInvalid: The answer is none that this client reads.
        """
        if self._reader is None or self._writer is None:
            opened = asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
            self._reader, self._writer = await opened
        try:
            self._writer.write(request)
            await self._writer.drain()
            status, length, is_kept = parse_head((await self._reader.readuntil(_HEAD_END))[: -len(_HEAD_END)])
            body = await (_read_chunks(self._reader) if length is None else self._reader.readexactly(length))
        except BaseException:  # also when cancelled: a connection in the middle of an answer cannot be used again
            self.close()
            raise
        if not is_kept:
            self.close()
        return status, body

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        if len(body) + size > MAX_ANSWER_BYTES:
            raise AnswerInvalid(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return bytes(body)
