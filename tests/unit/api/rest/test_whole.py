"""What is recognised without the parser: only what the parser would read in the same way."""

from dataclasses import dataclass, field
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.rest.whole import Whole, read_headers, read_whole

MOST = 1 << 14
BODY = b'{"inputs": ["w1"]}'
HEAD = b"POST /api/v1/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n"
PLAIN = HEAD + b"\r\n" + BODY


@dataclass
class Parsed:
    """What the parser says of some bytes."""

    urls: list[bytes] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: int = 0
    is_kept: bool = False

    def __post_init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> "Parsed":
        self._parser.feed_data(data)
        return self

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser.get_method() == b"POST"
        assert self._parser.get_http_version() == "1.1"
        assert not self._parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1
        self.is_kept = self._parser.should_keep_alive()


LENGTH = ("Content-Length", ": ", "18")
HEADERS = (
    ("Host", "x"), ("X-Request-Id", "r1"), ("X", "x" * 80), ("X", ""), ("X", "a\tb"),
    ("Connection", "keep-alive"), ("Connection", "close"), ("Connection", "Keep-Alive, close"), ("Connection", "h2c"),
    ("content-length", "18"), ("Content-Length", "+18"), ("Content-Length", " 018 "), ("Content-Length", "18, 18"),
    ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity"), ("Upgrade", "h2c"), ("Expect", "100-continue"),
    ("X", "\u00e9"), ("X", "a\rb"), ("X", "a\nb"), ("X", "\x00"), ("X\x00", "a"), ("X\n", "a"), ("", "a"),
)  # fmt: skip
LINES = (
    "POST /a HTTP/1.0", "POST  /a HTTP/1.1", "post /a HTTP/1.1", "GET /a HTTP/1.1", "POST /a HTTP/1.1 ",
    "POST * HTTP/1.1", "POST http://x/a HTTP/1.1", "POST /\u00e9 HTTP/1.1", "POST /a?b#c HTTP/1.1",
)  # fmt: skip


def mostly(usual: str | bytes, *others: str | bytes) -> st.SearchStrategy[Any]:
    """Return a strategy by which most drawn requests are plain but for one thing or two."""
    return st.one_of(*[st.just(usual)] * 6, st.sampled_from(others))


headers = st.builds(
    lambda pair, colon: (pair[0], colon, pair[1]), st.sampled_from(HEADERS), mostly(": ", ":", " :", "")
)
lists = st.lists(headers, max_size=3)


@settings(max_examples=500)
@given(
    mostly("POST /a HTTP/1.1", *LINES),
    st.one_of(lists, st.tuples(lists, lists).map(lambda two: [*two[0], LENGTH, *two[1]])),
    mostly("\r\n", "\n", "\r", "\r\n "),
    mostly(BODY, b"", BODY[:-1], BODY + b"x", BODY + PLAIN),
)
def test_the_parser_reads_the_same_in_what_is_recognised(
    line: str, pairs: list[tuple[str, str, str]], end: str, body: bytes
):
    head = line + end + "".join(f"{name}{colon}{value}{end}" for name, colon, value in pairs) + end
    data = head.encode() + body
    whole = read_whole(data, MOST)
    if whole is None:
        return
    parsed = Parsed().feed(data)
    assert (parsed.urls, parsed.complete, parsed.is_kept) == ([whole.target], 1, True)
    parsers = [(name, value.strip(b" \t")) for name, value in parsed.headers]
    assert read_headers(data, whole) == parsers
    assert all(dict(parsers)[name] == value for name, value in whole.told)
    assert parsed.body == data[whole.body_at :]
    # Nothing of it is left over: what comes next is a request of its own.
    assert parsed.feed(PLAIN).complete == 2


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (PLAIN, []),
        (PLAIN.replace(b"18\r\n", b"\t 18 \r\n"), []),
        (PLAIN.lower().replace(b"post", b"POST").replace(b"http/", b"HTTP/"), []),
        (HEAD + b"Connection: Keep-Alive\r\nAccept: */*\r\n\r\n" + BODY, []),
        (HEAD + b"X-Request-Id: r1\r\n\r\n" + BODY, [(b"x-request-id", b"r1")]),
        (HEAD.replace(b"Host: x", b"X-Request-Id: r0") + b"\r\n" + BODY, [(b"x-request-id", b"r0")]),
        (
            HEAD.replace(b"Host: x", b"X-Request-Id: r0") + b"x-request-id: r1\r\n\r\n" + BODY,
            [(b"x-request-id", b"r1")],
        ),
    ],
)
def test_a_plain_request_is_recognised(data: bytes, headers: list[tuple[bytes, bytes]]):
    whole = Whole(b"/api/v1/embed", len(data) - len(BODY), [(b"content-length", b"18"), *headers])
    assert read_whole(data, MOST) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN[:30],
        PLAIN + b"P",
        b"\r\n" + PLAIN,
        PLAIN.replace(b"18", b"17"),
        PLAIN.replace(b"18", b"+18"),
        PLAIN.replace(b"18", b"-18"),
        PLAIN.replace(b"18", b"9" * 19),
        PLAIN.replace(b"POST", b"PUT"),
        PLAIN.replace(b"embed", b"e" * 8000),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"\r\n", b"\n"),
        HEAD + b"Content-Length: 18\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
        HEAD + b"Connection: close\r\n\r\n" + BODY,
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY,
        HEAD + b"Expect: 100-continue\r\n\r\n" + BODY,
        HEAD + b"X: a\r\n folded\r\n\r\n" + BODY,
        HEAD + b"X : a\r\n\r\n" + BODY,
        HEAD + b"X: \x00\r\n\r\n" + BODY,
        b"POST /api/v1/embed HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_everything_else_is_left_to_the_parser(data: bytes):
    assert read_whole(data, MOST) is None


def test_a_head_over_the_limit_is_left_to_the_parser():
    size = len(PLAIN) - len(BODY)
    assert read_whole(PLAIN, size) is not None
    assert read_whole(PLAIN, size - 1) is None
