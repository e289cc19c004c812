"""Writing responses: nearly all are there as a whole when they are sent, and are one write then.

ASGI sends a response in two messages, and uvicorn writes each as it comes: two packets that wake the client twice, the
first time with a head that it can do nothing with; each header is looked through with two expressions, and lines are
told from bodies at each step. For what is whole all of that is done in a third of the time.
"""

from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class WholeSend:
    """Sends a response as uvicorn does, and what is whole at once.

    Args:
        cycle: Uvicorn's request and response.
    """

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: HTTPResponseStartEvent | None = None

    async def __call__(self, message: ASGISendEvent) -> None:
        """Send a message of ASGI; the head waits for the first part of the body."""
        if message["type"] == "http.response.start" and not self._cycle.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                data = self._spell(head, message.get("body", b""))
                if data is not None:
                    self._end(data)
                    return
            await self._send(head)
        await self._send(message)
        if self._cycle.response_complete:
            self._leave()

    def _spell(self, head: HTTPResponseStartEvent, body: bytes) -> bytes | None:
        """Return the bytes of a response; nothing if there is more to look at, which is left to uvicorn."""
        cycle = self._cycle
        if cycle.disconnected or cycle.flow.write_paused:
            return None
        headers = [*cycle.default_headers, *head.get("headers", ())]
        parts, is_closing, length = [STATUS_LINE[head["status"]]], False, -1
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                is_closing = True
            elif name == b"transfer-encoding" or not name.islower():
                return None
            parts += (name, b": ", value, b"\r\n")
        if length != len(body) or is_closing or not cycle.keep_alive:
            return None
        spelled = b"".join(parts)
        # A line break in a value would begin another header: uvicorn says which it was.
        if spelled.count(b"\n") != len(headers) + 1 or spelled.count(b"\r") != len(headers) + 1:
            return None
        return b"".join((spelled, b"\r\n", body))

    def _end(self, data: bytes) -> None:
        """Write a whole response, and leave everything as after uvicorn's two messages."""
        cycle = self._cycle
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(data)
        cycle.message_event.set()
        cycle.on_response()
        self._leave()

    def _leave(self) -> None:
        """Let go of each other: else each request would leave something for the garbage collector."""
        vars(self._cycle).pop("send", None)

    async def _send(self, message: ASGISendEvent) -> None:
        await RequestResponseCycle.send(self._cycle, message)
