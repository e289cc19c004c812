"""HTTP/1.1 with bounds: uvicorn has no limit on headers nor on the time they take to arrive.

Without one, a header that never ends grows in memory until the process dies, and a client that sends a byte
now and then keeps a connection for ever (Kludex/uvicorn#157).
"""

import asyncio
import uuid
from http import HTTPStatus
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.api.rest.problems import problem_body
from headrace.errors import HeadraceError, RequestMalformed, RequestTimeout, RequestTooLarge

_STATUS: Final[dict[type[HeadraceError], int]] = {RequestMalformed: 400, RequestTimeout: 408, RequestTooLarge: 431}
_HEAD: Final = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with a limit on the bytes and the time of a request's line and headers.

    Subclassed with the limits filled in, since uvicorn makes the instances.
    """

    max_header_bytes: ClassVar[int] = 16 << 10
    receive_timeout_s: ClassVar[float] = 10.0

    _header_bytes = 0
    _is_in_headers = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing costs a file descriptor."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._headers_are_in()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, as long as the headers stay in bounds."""
        if self._is_in_headers:
            # Counted before parsing: the parser keeps an unfinished header in memory of its own.
            self._header_bytes += len(data)
        super().data_received(data)
        if self._is_in_headers and self._header_bytes > self.max_header_bytes:
            self._refuse(RequestTooLarge(f"the headers are larger than {self.max_header_bytes} bytes; send less"))

    def on_message_begin(self) -> None:
        """Start the clock for a request on a connection that is kept open."""
        super().on_message_begin()
        if not self._is_in_headers:
            self._header_bytes = 0
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """Stop the clock and go on to the body, unless the headers were too large in one piece."""
        self._headers_are_in()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_header_bytes:
            self._refuse(RequestTooLarge(f"the headers are larger than {self.max_header_bytes} bytes; send less"))
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish the request, unless it was refused."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are not for clients
        """Refuse what is no HTTP, in the shape of every other refusal."""
        self._refuse(RequestMalformed("this is no valid HTTP/1.1 request; check the client or the proxy"))

    def _expect_headers(self) -> None:
        self._is_in_headers = True
        self._timer = self.loop.call_later(self.receive_timeout_s, self._on_timeout)

    def _headers_are_in(self) -> None:
        self._is_in_headers = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._header_bytes:
            self._refuse(RequestTimeout(f"the headers did not arrive within {self.receive_timeout_s:g} s"))
        else:
            self.transport.close()

    def _refuse(self, error: HeadraceError) -> None:
        """Answer without the application, which never sees this request, and hang up."""
        if self.transport.is_closing():
            return
        status = _STATUS[type(error)]
        body = problem_body(error, status, uuid.uuid4().hex)
        self.transport.write(_HEAD % (status, HTTPStatus(status).phrase.encode(), len(body)) + body)
        self.transport.close()
