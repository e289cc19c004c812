"""HTTP/1.1 with bounds: uvicorn has none on headers and trailers, nor on the time a request takes to arrive.

Without them a header that never ends grows in memory until the process dies, and a client that sends a byte now
and then keeps a connection for ever (Kludex/uvicorn#157).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.api.request_ids import new_request_id
from headrace.api.rest.body import BODY_KEY
from headrace.api.rest.disconnect import DISCONNECT_KEY, Disconnect
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.sending import WholeSend
from headrace.api.rest.whole import Headers, Whole, read_headers, read_whole
from headrace.errors import HeadraceError, RequestMalformed, RequestTimeout, RequestTooLarge

_STATUS: Final[dict[type[HeadraceError], int]] = {RequestMalformed: 400, RequestTimeout: 408, RequestTooLarge: 431}
_HEAD: Final = (
    b"HTTP/1.1 %d %b\r\ncontent-type: "
    + PROBLEM.media_type.encode()
    + b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
)
# A chunk of one byte takes six on the wire, so this much beside the body is still an honest client.
_FRAMING_FACTOR: Final = 8
# Of a refused request: a body up to this size is read and dropped, so that its connection can go on.
_MAX_SHED_BYTES: Final = 1 << 20
# A socket closed with unread data in it resets the connection, and the client, still sending, never sees the answer.
_LINGER_S: Final = 2.0
_MAX_DISCARDED_BYTES: Final = 256 << 20


class _PlainParser:
    """What the parser would say of a plain request, such as ``read_whole`` recognises."""

    def get_method(self) -> bytes:
        return b"POST"

    def get_http_version(self) -> str:
        return "1.1"

    def should_keep_alive(self) -> bool:
        return True

    def should_upgrade(self) -> bool:
        return False


_PLAIN: Final = _PlainParser()


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits on all of a request that is not its body.

    A request that breaks a limit, or is no HTTP, is refused here: the requests before it on the connection are
    answered first, nothing after it is looked at, and the connection is closed.

    A request that cannot be taken now is refused here as well, by its head, and the connection goes on: no task is
    made for it, and the application does not hear of it.

    A plain request that comes in one piece, as nearly all do, is taken or refused without the parser.

    Subclassed with the limits filled in, since uvicorn makes the instances.

    Attributes:
        refuse: As ``Shedder.refuse``: returns the response to a POST if it is refused unread.
    """

    max_header_bytes: ClassVar[int] = 16 << 10
    receive_timeout_s: ClassVar[float] = 10.0
    refuse: ClassVar[Callable[[bytes, Headers, Callable[[], Headers]], bytes | None]]

    _framing_bytes = 0  # of the current request: what came in, less its body
    _body_bytes = 0
    _is_in_headers = True
    _is_in_body = False
    _is_shed = False  # the current request: answered by its head, the rest of it is dropped
    _unanswered = 0
    _refusal: HeadraceError | None = None
    _discarded_bytes: int | None = None  # a number from when the connection lingers
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing costs a file descriptor."""
        super().connection_made(transport)
        self._disconnect = Disconnect(transport.abort)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and end what waits for this connection alone."""
        self._stop_clock()
        super().connection_lost(exc)
        self._disconnect.happen()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, as long as the request stays in bounds."""
        if self._discarded_bytes is not None:
            self._discard(data)
        if self._is_done() or self._take_whole(data):
            return
        if not self._is_in_headers and not self._is_in_body and not self._unanswered:
            self._expect_headers()  # the connection was idle; whatever comes is the start of a request
        # Counted before parsing: the parser keeps an unfinished line in memory of its own.
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > self.max_header_bytes + _FRAMING_FACTOR * self._body_bytes:
            self._refuse(RequestTooLarge(f"the headers are larger than {self.max_header_bytes} bytes; send less"))

    def on_message_begin(self) -> None:
        """Begin a request, also one that came along with the one before."""
        if self._is_done():
            return
        super().on_message_begin()
        self._unset_keepalive_if_required()  # a refusal may have set it, in the same piece of data
        if not self._is_in_headers:
            self._expect_headers()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        if not self._is_done():
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is counted but not kept, since nothing reads it."""
        if self._is_in_headers and not self._is_done():
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock and go on to the body, unless the headers were too large in one piece."""
        if self._is_done():
            return
        self._stop_clock()
        self._is_in_headers = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_header_bytes:
            self._refuse(RequestTooLarge(f"the headers are larger than {self.max_header_bytes} bytes; send less"))
            return
        self._framing_bytes = size
        self._is_in_body = True
        if self._shed():
            return
        self._begin()

    def _begin(self) -> None:
        """Hand the request to the application, which runs when the loop is free."""
        self._unanswered += 1
        super().on_headers_complete()
        self.scope["state"][DISCONNECT_KEY] = self._disconnect
        # Left alone where "100 Continue" comes before the head, or nothing after it.
        if not self.expect_100_continue and self.scope["method"] != "HEAD":
            self.cycle.send = WholeSend(self.cycle)  # type: ignore[method-assign]

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._is_done():
            return
        self._body_bytes += len(body)
        self._framing_bytes = max(0, self._framing_bytes - len(body))
        if not self._is_shed:
            super().on_body(body)
        elif self._body_bytes > _MAX_SHED_BYTES:
            self._linger()

    def on_message_complete(self) -> None:
        """Finish a request."""
        if self._is_done():
            return
        self._is_in_body = False
        self._framing_bytes = self._body_bytes = 0
        if not self._is_shed:
            super().on_message_complete()
            return
        self._is_shed = False
        self._stop_clock()
        super().on_response_complete()  # waits for the next request, as after any other

    def on_response_complete(self) -> None:
        """Go on to the next request, or hang up: after a refusal, or if the body was not wanted."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._unanswered or self.transport.is_closing() or self._discarded_bytes is not None:
            return
        if self._refusal is not None:
            self._hang_up(self._refusal)
        elif self._is_in_body:
            self._linger()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are not for clients
        """Refuse what is no HTTP, in the shape of every other refusal."""
        self._refuse(RequestMalformed("this is no valid HTTP/1.1 request; check the client or the proxy"))

    def _take_whole(self, data: bytes) -> bool:
        """Take or refuse a plain request that comes in one piece without the parser, and say whether it was one."""
        if self._framing_bytes or self._is_in_body or self._unanswered or self.flow.write_paused:
            return False
        whole = read_whole(data, self.max_header_bytes)
        if whole is None:
            return False
        self._stop_clock()
        self._is_in_headers = False
        response = type(self).refuse(whole.target, whole.told, partial(read_headers, data, whole))
        if response is None:
            self._begin_whole(data, whole)
        else:
            self.transport.write(response)
            super().on_response_complete()  # waits for the next request, as after any other
        return True

    def _begin_whole(self, data: bytes, whole: Whole) -> None:
        """Begin a request as if the parser had called back for each part of it."""
        self.parser, parser = _PLAIN, self.parser  # type: ignore[assignment]
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self.url = whole.target
        self.headers += read_headers(data, whole)
        self._begin()
        body = self.scope["state"][BODY_KEY] = data[whole.body_at :]
        super().on_body(body)
        self.flow.resume_reading()  # a long body stops it until it is asked for; a client that leaves would not be seen
        super().on_message_complete()
        self.parser = parser

    def _shed(self) -> bool:
        """Answer the request at once if it is refused unread, and say whether that was done.

        What is not plain is left to the application: a request behind others, one that closes the connection, waits
        for "100 Continue" or switches protocols, and one of a client that does not read its answers.
        """
        is_plain = self.parser.get_method() == b"POST" and self.parser.get_http_version() == "1.1"
        if not is_plain or not self.parser.should_keep_alive() or self.parser.should_upgrade():
            return False
        if self._unanswered or self.expect_100_continue or self.flow.write_paused:
            return False
        response = type(self).refuse(self.url, self.headers, lambda: self.headers)
        if response is None:
            return False
        self._is_shed = True
        self._timer = self.loop.call_later(self.receive_timeout_s, self._linger)
        self.transport.write(response)
        return True

    def _is_done(self) -> bool:
        return self._refusal is not None or self._discarded_bytes is not None or self.transport.is_closing()

    def _expect_headers(self) -> None:
        self._stop_clock()
        self._is_in_headers = True
        self._timer = self.loop.call_later(self.receive_timeout_s, self._on_timeout)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._framing_bytes:
            self._refuse(RequestTimeout(f"the headers did not arrive within {self.receive_timeout_s:g} s"))
        else:
            self.transport.close()

    def _refuse(self, error: HeadraceError) -> None:
        """Refuse the request that is arriving; answer those before it first."""
        if self._is_done():
            return
        self._refusal = error
        self._stop_clock()
        if self._is_shed:  # it has its answer; where the next request begins cannot be known any more
            self._linger()
            return
        if self._is_in_body and not self._take_back():
            return
        if not self._unanswered:
            self._hang_up(error)

    def _take_back(self) -> bool:
        """Take the request whose body is arriving out of the application's hands, and say if it can be answered."""
        self._unanswered -= 1
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # it waits for those before it, and has not begun
            return True
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.cycle.response_started:
            self.transport.close()
            return False
        return True

    def _hang_up(self, error: HeadraceError) -> None:
        status = _STATUS[type(error)]
        body = PROBLEM.body(error, status, new_request_id())
        self.transport.write(_HEAD % (status, HTTPStatus(status).phrase.encode(), len(body)) + body)
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and give the client a moment to notice before the connection is closed."""
        self._discarded_bytes = 0
        self._unset_keepalive_if_required()
        self._stop_clock()
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # TLS has no half of a connection
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _discard(self, data: bytes) -> None:
        self._discarded_bytes = (self._discarded_bytes or 0) + len(data)
        if self._discarded_bytes > _MAX_DISCARDED_BYTES:
            self.transport.close()
