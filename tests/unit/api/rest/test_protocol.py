"""How many writes a response takes: each is a packet, and wakes the client."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from headrace.api.rest.disconnect import ClientLeft, while_connected
from headrace.api.rest.protocol import BoundedProtocol


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def connect(app: ASGIApp) -> BoundedProtocol:
    """Return the server's end of a connection."""
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    kind = type("Protocol", (BoundedProtocol,), {"refuse": staticmethod(lambda *_: None)})
    protocol: BoundedProtocol = kind(config, ServerState(), {})
    protocol.connection_made(Wire())
    return protocol


async def exchange(app: ASGIApp, *parts: bytes) -> Wire:
    """Answer requests that come in parts."""
    protocol = connect(app)
    for part in parts:
        protocol.data_received(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(None)
    assert isinstance(protocol.transport, Wire)
    return protocol.transport


async def text(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await Response("text")(scope, receive, send)


async def test_the_head_of_a_response_leaves_with_its_body():
    wire = await exchange(text, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len(wire.writes) == 1
    assert wire.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.writes[0].endswith(b"\r\n\r\ntext")


async def test_the_rest_of_a_long_body_follows_part_by_part():
    async def parts(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(iter([b"one", b"two"]), headers={"content-length": "6"})(scope, receive, send)

    wire = await exchange(parts, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert [write.rpartition(b"\r\n")[2] for write in wire.writes] == [b"", b"one", b"two", b""]
    assert wire.is_closed


async def test_a_head_that_no_body_follows_is_written_alone():
    wire = await exchange(text, b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert [write.endswith(b"content-length: 4\r\n\r\n") for write in wire.writes] == [True]


async def test_what_comes_before_the_head_is_not_kept_back():
    wire = await exchange(
        text, b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n", b"1"
    )
    assert wire.writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.writes[-1] == b"text"


@pytest.mark.parametrize("fails", [True, False])
async def test_a_head_without_a_body_is_no_answer(fails: bool):
    async def breaking_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        if fails:
            raise ZeroDivisionError

    wire = await exchange(breaking_off, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"200 OK" not in b"".join(wire.writes)
    assert wire.is_closed


async def test_a_connection_whose_request_was_refused_unread_waits_for_the_next_one():
    config = uvicorn.Config(text, ws="none", lifespan="off", log_config=None)
    wire, body = Wire(), b"{}"
    protocol = type("Protocol", (BoundedProtocol,), {"refuse": staticmethod(lambda *_: b"refused")})(
        config, ServerState(), {}
    )
    protocol.connection_made(wire)
    for count in (1, 2):
        protocol.data_received(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n" + body)
        assert wire.writes == [b"refused"] * count
        assert protocol._timer is None  # of the headers
        assert protocol.timeout_keep_alive_task is not None
        assert not protocol.timeout_keep_alive_task.cancelled()
    protocol.connection_lost(None)


BODY = b'{"inputs": ["w1"]}'
WHOLE = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\nX-Y:  z \r\n\r\n" + BODY


async def what_is_told(*parts: bytes) -> list[dict[str, Any]]:
    """Return what an application is told of the requests that come in these parts, their bodies included."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        told = {name: value for name, value in scope.items() if name != "state"}
        told["headers"] = [(name, value.strip(b" ")) for name, value in scope["headers"]]
        seen.append({**told, "body": message["body"], "more": message["more_body"]})
        await Response("text")(scope, receive, send)

    wire = await exchange(app, *parts)
    assert len(wire.writes) == len(seen)
    assert all(write.endswith(b"\r\n\r\ntext") for write in wire.writes)
    return seen


@pytest.mark.parametrize("cut", [1, 30, len(WHOLE) - len(BODY) - 2])
async def test_a_request_in_one_piece_is_told_as_one_in_two(cut: int):
    whole = await what_is_told(WHOLE)
    assert whole == await what_is_told(WHOLE[:cut], WHOLE[cut:])
    assert (whole[0]["body"], whole[0]["path"], whole[0]["query_string"]) == (BODY, "/a b", b"c=d")


async def test_the_parser_goes_on_where_requests_in_one_piece_ended():
    (told,) = await what_is_told(WHOLE)
    assert await what_is_told(WHOLE, WHOLE[:40], WHOLE[40:], WHOLE, WHOLE) == [told] * 4


@pytest.mark.parametrize("parts", [(WHOLE,), (WHOLE[:40], WHOLE[40:])])
async def test_who_waits_for_a_connection_hears_of_its_end(parts: tuple[bytes, ...]):
    outcomes = []

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        try:
            await while_connected(Request(scope, receive), asyncio.sleep(60))
        except ClientLeft:
            outcomes.append("left")

    protocol = connect(app)
    for part in parts:
        protocol.data_received(part)
    await asyncio.sleep(0.01)
    (task,) = protocol.tasks
    assert not task.done()
    protocol.connection_lost(None)
    await task
    assert outcomes == ["left"]


async def test_a_client_that_leaves_is_seen_behind_a_long_body_too():
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None: ...

    protocol = connect(app)
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    assert isinstance(protocol.transport, Wire)
    assert not protocol.transport.is_paused
    await asyncio.gather(*protocol.tasks)
