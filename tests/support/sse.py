"""A reader of server-sent events over a socket, byte by byte as they come."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.server import Reply, parse_reply


@dataclass(frozen=True, slots=True)
class Told:
    """One event as it came."""

    subject: str
    data: Any
    id: str | None


@dataclass(slots=True)
class Follower:
    """Follows the events of a server; its socket waits 20 s at most.

    Attributes:
        reply: The head of the response; of a refusal the body as well.
        comments: How many came between the events.
        lines: All lines that came, as they were.
    """

    connection: socket.socket
    reply: Reply = field(init=False)
    comments: int = 0
    lines: list[str] = field(default_factory=list)
    is_whole: bool = False
    _raw: bytes = b""
    _text: str = ""

    def __post_init__(self) -> None:
        while b"\r\n\r\n" not in self._raw:
            self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.reply = parse_reply(head + b"\r\n\r\n")
        if "content-length" in self.reply.headers:
            size = int(self.reply.headers["content-length"])
            while len(self._raw) < size:
                self._receive()
            self.reply = Reply(self.reply.status, self.reply.headers, self._raw[:size])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def next(self) -> Told | None:
        """Return the next event; nothing when the server has ended."""
        while (block := self._next_block()) is not None:
            fields = {}
            for line in block.split("\n"):
                self.lines.append(line)
                name, _, value = line.partition(": ")
                assert name not in fields, block
                fields[name] = value
            if "event" in fields:
                assert set(fields) <= {"id", "event", "data"}, block
                return Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
            self.comments += ":" in fields
        return None

    def take(self, count: int) -> list[Told]:
        """Return so many events, which come."""
        found = [self.next() for _ in range(count)]
        assert None not in found, found
        return [each for each in found if each is not None]

    def rest(self) -> list[Told]:
        """Return all events until the server ends."""
        return list(iter(self.next, None))

    def _next_block(self) -> str | None:
        while "\n\n" not in self._text:
            if not self._next_chunk():
                assert not self._text, self._text
                return None
        block, _, self._text = self._text.partition("\n\n")
        return block

    def _next_chunk(self) -> bool:
        """Read one chunk of the body, and say whether there was one."""
        while b"\r\n" not in self._raw:
            if not self._receive():
                return False
        size, _, rest = self._raw.partition(b"\r\n")
        end = int(size, 16) + 2
        while len(rest) < end:
            self._raw = b""
            if not self._receive():
                return False
            rest += self._raw
        self._text += rest[: end - 2].decode()
        self._raw = rest[end:]
        self.is_whole = end == 2
        return end > 2

    def _receive(self) -> bool:
        data = self.connection.recv(1 << 16)
        self._raw += data
        return bool(data)


def follow(
    port: int, query: str = "", headers: Mapping[str, str] | None = None, *, receive_bytes: int | None = None
) -> Follower:
    """Follow the events of a server on this machine."""
    return Follower(ask(port, query, headers, receive_bytes=receive_bytes))


def ask(
    port: int, query: str = "", headers: Mapping[str, str] | None = None, *, receive_bytes: int | None = None
) -> socket.socket:
    """Ask for the events, and read nothing yet."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.sendall(f"GET /api/v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode("latin-1"))
    return connection
