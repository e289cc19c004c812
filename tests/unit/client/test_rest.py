"""A server over HTTP that says anything: on a socket, byte by byte as a test has it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from headrace import errors
from headrace.client import AsyncClient
from headrace.client import rest as rest_module
from headrace.codings import CODINGS, Coding, compress
from headrace.errors import HeadraceError

KEY = "very-secret-key-of-the-caller"


def reply(status: str, body: bytes | Any, *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(data)}", "", ""]
    return "\r\n".join(lines).encode() + data


JSON = "content-type: application/json"
FLOATS = "content-type: application/octet-stream"
RESULT = {"score": 0.5, "tokens": 1, "truncated": False, "windows": 1}


class Hostile:
    """Answers every request with the next of some replies, the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[bytes] = [b""]
        self.heads: list[bytes] = []
        self.drip_s = 0.0
        self.is_endless = False
        self.sent = 0
        self.url = ""
        self.tasks: list[asyncio.Task[None] | None] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            told = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            await reader.readexactly(int(told[0]) if told else 0)
            data = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            size = 1 if self.drip_s else len(data) or 1
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                await asyncio.sleep(self.drip_s)
            while self.is_endless:
                writer.write(b"x" * 65536)
                await writer.drain()
                self.sent += 65536


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    hostile = Hostile()
    listening = await asyncio.start_server(hostile.handle, "127.0.0.1", 0)
    hostile.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield hostile
        await asyncio.gather(*[task for task in hostile.tasks if task is not None])


@pytest.fixture
async def client(server: Hostile) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, key=KEY, retries=0, timeout_s=10) as client:
        yield client


def results(*rows: Any, **more: Any) -> bytes:
    return reply("200 OK", {"revision": "r", "results": rows, **more}, JSON)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", errors.ServerUnreachable),
        (b"SSH-2.0-OpenSSH_9.2\r\n", errors.ServerUnreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", errors.ServerUnreachable),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (1 << 20), errors.ServerUnreachable),
        (reply("200 OK", b"<html>", "content-type: text/html"), errors.AnswerInvalid),
        (reply("200 OK", b"{", JSON), errors.AnswerInvalid),
        (reply("200 OK", b"\xff", JSON), errors.AnswerInvalid),
        (reply("200 OK", b'{"revision": "r", "results": [NaN]}', JSON), errors.AnswerInvalid),
        (reply("200 OK", b"[" * 100_000, JSON), errors.AnswerInvalid),
        (reply("200 OK", [], JSON), errors.AnswerInvalid),
        (reply("200 OK", None, JSON), errors.AnswerInvalid),
        (reply("200 OK", "text", JSON), errors.AnswerInvalid),
        (reply("200 OK", {"results": []}, JSON), errors.AnswerInvalid),
        (results(), errors.AnswerInvalid),
        (results(RESULT, RESULT), errors.AnswerInvalid),
        (results(1), errors.AnswerInvalid),
        (results(None), errors.AnswerInvalid),
        (results([RESULT]), errors.AnswerInvalid),
        (results({**RESULT, "score": "1"}), errors.AnswerInvalid),
        (results({**RESULT, "score": True}), errors.AnswerInvalid),
        (results({**RESULT, "score": None}), errors.AnswerInvalid),
        (results({**RESULT, "tokens": 1.5}), errors.AnswerInvalid),
        (results({**RESULT, "tokens": -1}), errors.AnswerInvalid),
        (results({**RESULT, "truncated": 0}), errors.AnswerInvalid),
        (results({name: value for name, value in RESULT.items() if name != "windows"}), errors.AnswerInvalid),
        (reply("204 No Content", b""), errors.ServerFailed),
        (reply("500 Oops", b"Traceback"), errors.ServerFailed),
        (reply("500 Oops", {"code": "internal.error", "detail": "d"}), errors.ServerFailed),
        (reply("418 Teapot", {"code": ["queue.full"]}), errors.ServerFailed),
        (reply("418 Teapot", {"code": "none.known", "detail": {"a": 1}, "field": 3}), errors.ServerFailed),
        (reply("418 Teapot", ["code"]), errors.ServerFailed),
        (reply("401 Unauthorized", b""), errors.CallerUnknown),
        (reply("403 Forbidden", b""), errors.AccessDenied),
        (reply("404 Not Found", b"nginx"), errors.RouteUnknown),
        (reply("413 Too Large", b"nginx"), errors.RequestTooLarge),
        (reply("429 Too Many", b""), errors.LimitExceeded),
        (reply("502 Bad Gateway", b"nginx"), errors.ServerUnreachable),
        (reply("503 Unavailable", b"nginx"), errors.ServerUnreachable),
        (reply("504 Timeout", b"nginx"), errors.ServerUnreachable),
    ],
)
async def test_what_is_no_answer_is_a_clear_error(
    server: Hostile, client: AsyncClient, data: bytes, kind: type[HeadraceError]
):
    server.replies = [data]
    with pytest.raises(kind) as caught:
        await client.similarity(["a"], "b")
    assert type(caught.value) is kind
    assert KEY not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ("", b""),
        ("1,2", b"1234567"),
        ("1,0", b""),
        ("2,1", b"12345678"),
        ("1,2,1", b"12345678"),
        ("-1,-2", b"12345678"),
        ("1,99999999999999999999", b"12345678"),
        ("1,1", b"\x00\x00\xc0\x7f"),  # NaN
        ("1,1", b"\x00\x00\x80\xff"),  # -infinity
    ],
)
async def test_vectors_that_are_none_are_refused(server: Hostile, client: AsyncClient, shape: str, data: bytes):
    server.replies = [reply("200 OK", data, FLOATS, f"x-shape: {shape}", "x-revision: r")]
    with pytest.raises(errors.AnswerInvalid):
        await client.embed(["a"])


async def test_vectors_are_those_that_came(server: Hostile, client: AsyncClient):
    server.replies = [reply("200 OK", b"\x00\x00\x80\x3f" * 2, FLOATS, "x-shape: 1,2", "x-revision: r")]
    assert (await client.embed(["a"])).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    "places",
    [[0, 0], [0, 2], [0, -1], [0], [0, 1, 2]],
)
async def test_a_ranking_of_other_texts_is_refused(server: Hostile, client: AsyncClient, places: list[int]):
    server.replies = [results(*({**RESULT, "index": place} for place in places))]
    with pytest.raises(errors.AnswerInvalid):
        await client.rerank(["a", "b"], "c")


ENTITY = {"label": "PER", "score": 0.5, "start": 0, "end": 1, "text": "a"}


@pytest.mark.parametrize(
    "row",
    [
        {**RESULT, "entities": None},
        {**RESULT, "entities": "PER"},
        {**RESULT, "entities": [1]},
        {**RESULT, "entities": [{**ENTITY, "start": 2}]},
        {**RESULT, "entities": [{**ENTITY, "start": -1}]},
        {**RESULT, "entities": [{**ENTITY, "label": 1}]},
        {**RESULT, "entities": [{**ENTITY, "text": None}]},
    ],
)
async def test_what_is_inside_a_result_is_looked_at(server: Hostile, client: AsyncClient, row: dict[str, Any]):
    server.replies = [results(RESULT | {"entities": [ENTITY]}, row)]
    with pytest.raises(errors.AnswerInvalid, match=r"results\[1\]"):
        await client.extract(["a", "b"])


async def test_a_ranking_of_no_text_is_none(server: Hostile, client: AsyncClient):
    server.replies = [results()]
    assert await client.rerank(["a", "b"], "c", top_k=0) == []


async def test_an_endless_answer_is_given_up(server: Hostile, client: AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rest_module, "MOST_BYTES", 1 << 20)
    server.replies, server.is_endless = [f"HTTP/1.1 200 OK\r\n{JSON}\r\n\r\n".encode()], True
    with pytest.raises(errors.AnswerInvalid, match="over 1 MiB"):
        await client.similarity(["a"], "b")
    server.replies = [b"HTTP/1.1 400 Bad\r\n\r\n"]
    with pytest.raises(errors.ServerFailed):
        await client.similarity(["a"], "b")
    assert server.sent < 64 << 20


async def test_a_slow_drip_ends_with_the_time(server: Hostile):
    server.replies, server.drip_s = [results(RESULT)], 0.05
    started = time.monotonic()
    async with AsyncClient(server.url, retries=0, timeout_s=0.3) as client:
        with pytest.raises(errors.TimeoutElapsed):
            await client.similarity(["a"], "b")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_answer_is_read(server: Hostile, client: AsyncClient, coding: Coding):
    body = compress(orjson.dumps({"revision": "r", "results": [RESULT]}), coding)
    server.replies = [reply("200 OK", body, JSON, f"content-encoding: {coding}")]
    assert (await client.similarity(["a"], "b"))[0].score == 0.5


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd, gzip", "x" * 1000])
async def test_an_answer_compressed_as_was_not_asked_for_is_refused(server: Hostile, client: AsyncClient, coding: str):
    server.replies = [reply("200 OK", b"\x1f\x8b", JSON, f"content-encoding: {coding}")]
    with pytest.raises(errors.AnswerInvalid, match="compressed as"):
        await client.similarity(["a"], "b")


@pytest.mark.parametrize("coding", CODINGS)
async def test_what_is_no_compressed_answer_or_too_large_a_one_is_refused(
    server: Hostile, client: AsyncClient, coding: Coding, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rest_module, "MOST_BYTES", 1 << 20)
    whole = compress(b" " * ((1 << 20) + 1), coding)
    for body in (whole, whole[:-1], whole * 2, b"{}", b""):
        server.replies = [reply("200 OK", body, JSON, f"content-encoding: {coding}")]
        with pytest.raises(errors.AnswerInvalid, match=f"no {coding}, or over 1 MiB"):
            await client.similarity(["a"], "b")


async def test_a_refusal_may_be_compressed(server: Hostile, client: AsyncClient):
    told = compress(orjson.dumps({"code": "queue.full", "detail": "d"}), "zstd")
    server.replies = [reply("429 Many", told, JSON, "content-encoding: zstd")]
    with pytest.raises(errors.QueueFull):
        await client.similarity(["a"], "b")
    server.replies = [reply("429 Many", told[:-1], JSON, "content-encoding: zstd")]
    with pytest.raises(errors.LimitExceeded):
        await client.similarity(["a"], "b")


async def test_the_key_goes_nowhere_else(server: Hostile, client: AsyncClient):
    elsewhere = Hostile()
    listening = await asyncio.start_server(elsewhere.handle, "127.0.0.1", 0)
    async with listening:
        there = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        server.replies = [reply("307 Temporary", b"", f"location: {there}", "set-cookie: a=b"), results(RESULT)]
        with pytest.raises(errors.AnswerInvalid, match="elsewhere"):
            await client.similarity(["a"], "b")
        await client.similarity(["a"], "b")
    assert elsewhere.heads == []
    assert b"cookie" not in server.heads[1].lower()  # nor is anything of the server's kept


async def test_what_is_asked_has_the_key_the_time_and_one_routing_key(server: Hostile, client: AsyncClient):
    server.replies = [results(RESULT)]
    await client.similarity(["a"], "b")
    head = server.heads[0].decode()
    assert head.startswith("POST /api/v1/similarity HTTP/1.1\r\n")
    fields = dict(line.split(": ", 1) for line in head.lower().strip().split("\r\n")[1:])
    assert fields["authorization"] == f"bearer {KEY}"
    assert fields["accept-encoding"] == "zstd, gzip"
    assert 9 < float(fields["x-request-timeout"]) <= 10
    assert fields["x-routing-key"]
    assert fields["user-agent"].startswith("headrace/")


async def test_the_time_shrinks_with_each_attempt(server: Hostile):
    later = reply("503 Unavailable", {"code": "service.unready", "detail": "d"}, "retry-after: 0")
    server.replies = [later, b"", results(RESULT)]
    async with AsyncClient(server.url, retries=3, timeout_s=10) as client:
        await client.similarity(["a"], "b")
    left = [float(head.lower().split(b"x-request-timeout: ")[1].split(b"\r\n")[0]) for head in server.heads]
    assert len(left) == 3
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        ("99999999999999999999999", None),
        ("-1", None),
        ("soon", None),
        ("1e3", None),
        ("\u00b2", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", None),
    ],
)
async def test_when_to_ask_again_is_read(server: Hostile, client: AsyncClient, header: str, expected: float | None):
    server.replies = [reply("429 Too Many", {"code": "limit.exceeded", "detail": "d"}, f"retry-after: {header}")]
    with pytest.raises(errors.LimitExceeded) as caught:
        await client.similarity(["a"], "b")
    assert caught.value.retry_after_s == expected


async def test_a_date_to_ask_again_is_read(server: Hostile, client: AsyncClient):
    date = formatdate(time.time() + 60, usegmt=True)
    server.replies = [reply("429 Too Many", b"", f"retry-after: {date}")]
    with pytest.raises(errors.LimitExceeded) as caught:
        await client.similarity(["a"], "b")
    assert 50 < (caught.value.retry_after_s or 0) <= 61


async def test_an_error_is_no_longer_than_it_needs(server: Hostile, client: AsyncClient):
    server.replies = [reply("422 No", {"code": "request.invalid", "detail": "d" * 5000, "field": "f" * 5000})]
    with pytest.raises(errors.RequestInvalid) as caught:
        await client.similarity(["a"], "b")
    assert (len(caught.value.message), len(caught.value.field or "")) == (1000, 200)


async def test_nobody_there_is_told_so(unused_tcp_port_factory: Callable[[], int]):
    async with AsyncClient(f"http://127.0.0.1:{unused_tcp_port_factory()}", retries=0) as client:
        with pytest.raises(errors.ServerUnreachable, match="is the server running"):
            await client.embed(["a"])


async def test_no_log_has_the_key(server: Hostile, client: AsyncClient, caplog: pytest.LogCaptureFixture):
    server.replies = [results(RESULT)]
    with caplog.at_level(logging.DEBUG):
        await client.similarity(["a"], "b")
    assert KEY not in caplog.text


async def test_models_that_are_none_are_refused(server: Hostile, client: AsyncClient):
    bodies: list[dict[str, Any]] = [{}, {"models": {}}, {"models": [{}]}, {"models": ["a"]}, {"models": None}]
    known: dict[str, Any] = dict.fromkeys(
        ("name", "revision", "role", "task", "runtime", "precision", "pooling", "source"), "a"
    )
    known |= {"share": None, "mask": None, "license": None, "normalize": True, "dimensions": 1, "max_tokens": 1}
    bodies += [
        {"models": [{**known, "labels": [1], "prompts": {}}]},
        {"models": [{**known, "labels": [], "prompts": {"a": 1}}]},
    ]
    bodies += [{"models": [{**known, "labels": [], "prompts": []}]}]
    for body in bodies:
        server.replies = [reply("200 OK", body, JSON)]
        with pytest.raises(errors.AnswerInvalid):
            await client.models()
