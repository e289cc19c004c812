"""A server over gRPC that says anything."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from headrace import errors
from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.client import AsyncClient
from headrace.client import grpc as grpc_module
from headrace.client.address import read_address
from headrace.client.base import MOST_BYTES
from headrace.client.transports import choose_transport
from headrace.errors import HeadraceError

KEY = "very-secret-key-of-the-caller"
RESULT = pb.SimilarityResult(tokens=1, windows=1, score=0.5)


class Hostile(grpc.GenericRpcHandler):
    """Answers every call so."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], Awaitable[bytes]] = lambda _: asyncio.sleep(0, b"")
        self.metadata: list[dict[str, Any]] = []
        self.address = ""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def handle(_data: bytes, rpc: Any) -> bytes:
            self.metadata.append({**dict(rpc.invocation_metadata()), "left_s": rpc.time_remaining()})
            return await self.answer(rpc)

        return grpc.unary_unary_rpc_method_handler(handle)

    def say(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        self.answer = lambda _: asyncio.sleep(0, data)

    def abort(self, status: grpc.StatusCode, message: str = "", *trailing: tuple[str, Any]) -> None:
        self.answer = lambda rpc: rpc.abort(status, message, trailing)


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    hostile, listening = Hostile(), grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    listening.add_generic_rpc_handlers((hostile,))
    hostile.address = f"127.0.0.1:{listening.add_insecure_port('127.0.0.1:0')}"
    await listening.start()
    yield hostile
    await listening.stop(None)


@pytest.fixture
async def client(server: Hostile) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"grpc://{server.address}", key=KEY, retries=0, timeout_s=10) as client:
        yield client


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff",
        b"",
        pb.SimilarityResponse(results=[RESULT, RESULT]),
        pb.SimilarityResponse(results=[pb.SimilarityResult(score=float("nan"))]),
        pb.SimilarityResponse(results=[pb.SimilarityResult(tokens=-1)]),
    ],
)
async def test_what_is_no_answer_is_a_clear_error(server: Hostile, client: AsyncClient, message: Any):
    server.say(message)
    with pytest.raises(errors.AnswerInvalid):
        await client.similarity(["a"], "b")


@pytest.mark.parametrize(
    "rows",
    [[], [[]], [[1.0], [1.0]], [[float("inf")]], [[1.0, 2.0], [1.0]]],
    ids=["none", "empty", "two", "inf", "odd"],
)
async def test_vectors_that_are_none_are_refused(server: Hostile, client: AsyncClient, rows: list[list[float]]):
    server.say(pb.EmbedResponse(results=[pb.EmbedResult(embedding=row) for row in rows]))
    with pytest.raises(errors.AnswerInvalid):
        await client.embed(["a"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.TimeoutElapsed),
        (grpc.StatusCode.UNAUTHENTICATED, errors.CallerUnknown),
        (grpc.StatusCode.PERMISSION_DENIED, errors.AccessDenied),
        (grpc.StatusCode.UNIMPLEMENTED, errors.RouteUnknown),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.RequestTooLarge),
        (grpc.StatusCode.INTERNAL, errors.ServerFailed),
    ],
)
@pytest.mark.parametrize("details", [None, b"", b"\xff\xff", status_pb2.Status(code=3).SerializeToString()])
async def test_a_status_that_says_no_more_is_read(
    server: Hostile, client: AsyncClient, status: grpc.StatusCode, kind: type[HeadraceError], details: bytes | None
):
    server.abort(status, "words", *([] if details is None else [("grpc-status-details-bin", details)]))
    with pytest.raises(kind) as caught:
        await client.similarity(["a"], "b")
    assert type(caught.value) is kind
    assert KEY not in f"{caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ({"code": "queue.full"}, errors.QueueFull),
        ({"code": "none.known"}, errors.ServerFailed),
        ({}, errors.ServerFailed),
    ],
)
async def test_the_code_is_believed_and_not_what_is_odd_around_it(
    server: Hostile, client: AsyncClient, about: dict[str, str], kind: type[HeadraceError]
):
    told = status_pb2.Status()
    told.details.add().Pack(error_details_pb2.ErrorInfo(metadata=about))
    told.details.add().Pack(error_details_pb2.BadRequest())
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = -5
    told.details.add().Pack(retry)
    server.abort(grpc.StatusCode.UNKNOWN, "", ("grpc-status-details-bin", told.SerializeToString()))
    with pytest.raises(kind) as caught:
        await client.similarity(["a"], "b")
    assert (type(caught.value), caught.value.field, caught.value.retry_after_s) == (kind, None, None)


async def test_an_answer_that_is_too_long_is_not_taken(server: Hostile, client: AsyncClient):
    server.say(bytes(MOST_BYTES + 1))
    with pytest.raises(errors.AnswerInvalid, match="over 64 MiB"):
        await client.similarity(["a"], "b")


async def test_a_server_that_does_not_answer_is_given_up(server: Hostile):
    server.answer = lambda _: asyncio.sleep(60, b"")
    async with AsyncClient(f"grpc://{server.address}", retries=0, timeout_s=0.2) as client:
        with pytest.raises(errors.TimeoutElapsed):
            await client.similarity(["a"], "b")


async def test_what_is_asked_has_the_key_the_time_and_a_routing_key(server: Hostile, client: AsyncClient):
    server.say(pb.SimilarityResponse(results=[RESULT]))
    await client.similarity(["a"], "b")
    [told] = server.metadata
    assert told["authorization"] == f"Bearer {KEY}"
    assert told["x-routing-key"]
    assert told["user-agent"].startswith("headrace/")
    assert 8 < told["left_s"] <= 10


async def test_it_is_asked_again_once_the_server_is_back(unused_tcp_port: int):
    hostile = Hostile()
    hostile.say(pb.SimilarityResponse(results=[RESULT]))
    async with AsyncClient(f"grpc://127.0.0.1:{unused_tcp_port}", retries=0) as client:
        with pytest.raises(errors.ServerUnreachable):
            await client.similarity(["a"], "b")
        listening = grpc.aio.server()
        listening.add_generic_rpc_handlers((hostile,))
        listening.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
        await listening.start()
        found = None
        while found is None:
            try:
                found = await client.similarity(["a"], "b")
            except errors.ServerUnreachable:
                await asyncio.sleep(0.05)
        await listening.stop(None)


def test_without_grpc_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, grpc_module.__name__)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(errors.DependencyMissing, match=r"pip install 'headrace\[grpc\]'"):
        choose_transport(read_address("grpc://a:1"))
