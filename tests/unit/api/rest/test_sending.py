import asyncio
import gc
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from headrace.api.rest.protocol import BoundedProtocol
from headrace.api.rest.sending import WholeSend

from .test_protocol import Wire

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
Messages = Sequence[Mapping[str, Any]]


def answer(body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> Messages:
    head = [(b"content-length", b"%d" % len(body)), *headers]
    return [
        {"type": "http.response.start", "status": status, "headers": head},
        {"type": "http.response.body", "body": body},
    ]


async def written(kind: type[HttpToolsProtocol], messages: Messages, request: bytes = REQUEST) -> tuple[Wire, Any]:
    """Return what a protocol writes for an application that sends these messages, and what the application heard."""
    heard: list[BaseException] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            for message in messages:
                await send(dict(message))
        except RuntimeError as error:
            heard.append(error)
            raise

    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    protocol = kind(config, state, {})
    wire = Wire()
    protocol.connection_made(wire)
    protocol.data_received(request)
    while state.tasks:
        await asyncio.wait(state.tasks)
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire, [str(error) for error in heard]


OURS = type("Ours", (BoundedProtocol,), {"refuse": staticmethod(lambda *_: None)})

NAMES = st.sampled_from([b"x-a", b"content-type", b"connection", b"transfer-encoding", b"Content-Length", b"x\nb", b""])
VALUES = st.sampled_from(
    [b"a", b"close", b"keep-alive", b"chunked", b"4", b"a\r\nx: y", b"a\nb", b"a\rb", b"\xff", b""]
)


@given(
    body=st.binary(max_size=6),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    status=st.sampled_from([200, 204, 304, 404, 429, 503]),
    parts=st.lists(st.binary(max_size=3), max_size=2),
    request=st.sampled_from(
        [
            REQUEST,
            REQUEST.replace(b"POST", b"HEAD"),
            REQUEST.replace(b"host", b"connection: close\r\nhost"),
            REQUEST.replace(b"1.1", b"1.0"),
            REQUEST.replace(b"host", b"expect: 100-continue\r\nhost"),
        ]
    ),
)
async def test_what_is_written_is_what_uvicorn_writes(
    body: bytes, headers: list[tuple[bytes, bytes]], status: int, parts: list[bytes], request: bytes
):
    messages = list(answer(body, *headers, status=status))
    messages[-1] = {**messages[-1], "more_body": bool(parts)}
    messages += [
        {"type": "http.response.body", "body": part, "more_body": place < len(parts)}
        for place, part in enumerate(parts, 1)
    ]
    ours, we_heard = await written(OURS, messages, request)
    theirs, they_heard = await written(HttpToolsProtocol, messages, request)
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert (ours.is_closed, we_heard) == (theirs.is_closed, they_heard)


@pytest.mark.parametrize("headers", [(), ((b"x-request-id", b"a"),)])
async def test_what_is_whole_is_one_write(headers: tuple[tuple[bytes, bytes], ...]):
    wire, _ = await written(OURS, answer(b"text", *headers))
    assert len(wire.writes) == 1
    assert wire.writes[0].endswith(b"\r\n\r\ntext")


async def test_a_value_with_a_line_break_begins_no_header():
    wire, heard = await written(OURS, answer(b"text", (b"x-a", b"b\r\nset-cookie: c")))
    assert heard == ["Invalid HTTP header value."]
    assert b"set-cookie" not in b"".join(wire.writes)


async def test_a_second_answer_is_refused():
    wire, heard = await written(OURS, [*answer(b"text"), *answer(b"more")])
    assert len(heard) == 1
    assert b"more" not in b"".join(wire.writes)


async def test_nothing_is_left_for_the_garbage_collector():
    def left() -> int:
        return sum(type(each) in {WholeSend, RequestResponseCycle} for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = left()
        await written(OURS, answer(b"text"))
        assert left() == before
    finally:
        gc.enable()
