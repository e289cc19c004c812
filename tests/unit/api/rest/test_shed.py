"""Requests that no engine can take, on the real server: refused by their head, on connections that go on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.support.facts import Recorder
from tests.support.rest_door import open_rest
from tests.support.server import Reply
from tests.support.services import ServiceUnderTest, ask, service_under_test

from headrace.api.context import Context
from headrace.api.rest import cohere, huggingface, infinity, moderations, native, oip, openai, rerank, tei
from headrace.api.rest.app import SHEDDABLE, build_app
from headrace.api.rest.route import DirectRoute
from headrace.errors import QueueFull
from headrace.observe.base import RequestsShed, ResponseSent
from headrace.settings import EngineSettings, ServerSettings, Settings

BODY = b'{"inputs": ["w1"]}'
SERVER = ServerSettings(port=0, linger_s=0, drain_timeout_s=0, receive_timeout_s=0.3)


def post(body: bytes = BODY, *, path: str = "/api/v1/embed", version: str = "1.1", **headers: str) -> bytes:
    given = {"host": "localhost", "content_type": "application/json", "content_length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items() if value)
    return f"POST {path} HTTP/{version}\r\n{head}\r\n".encode() + body


@dataclass
class Server:
    """A server whose queue has room for one text."""

    it: ServiceUnderTest
    context: Context
    port: int
    tasks: contextlib.AsyncExitStack

    @property
    def recorder(self) -> Recorder:
        return self.it.recorder

    async def fill(self) -> None:
        """Let one text in that stays until ``empty``."""
        self.it.backend.gate.clear()
        blocking = asyncio.create_task(self.it.service.run(ask("a")))
        self.tasks.push_async_callback(asyncio.wait, {blocking})
        while not self.it.backend.batches:
            await asyncio.sleep(0.001)
        assert self.it.registry.retry_after_s(0, 0) is not None
        self.recorder.facts.clear()

    async def empty(self) -> None:
        self.it.backend.gate.set()
        while self.it.registry.retry_after_s(0, 0) is not None:
            await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(20):
                yield Connection(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> Reply:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Reply(int(first.split()[1]), headers, await self.reader.readexactly(int(headers["content-length"])))

    async def ask(self, data: bytes) -> Reply:
        self.send(data)
        return await self.receive()

    async def has_ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await self.reader.read(1) == b""
        return True


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with contextlib.AsyncExitStack() as stack:
        it = await stack.enter_async_context(service_under_test(engine=EngineSettings(max_queued_texts=1)))
        context = it.context(settings=Settings(server=SERVER))
        port = await stack.enter_async_context(open_rest(context))
        tasks = await stack.enter_async_context(contextlib.AsyncExitStack())
        tasks.callback(it.backend.gate.set)
        yield Server(it, context, port, tasks)
        it.backend.gate.set()


async def shed(server: Server) -> int:
    """Return how many were refused unread, when that has been told."""
    await asyncio.sleep(0.15)
    return sum(fact.count for fact in server.recorder.of(RequestsShed))


def test_every_path_that_asks_for_an_answer_is_shed_in_its_own_shape():
    posts = {
        route.path: route.errors
        for dialect in (native, openai, moderations, tei, rerank, cohere, infinity, huggingface, oip)
        for route in dialect.router.routes
        if isinstance(route, DirectRoute)
        and "POST" in (route.methods or ())
        and "version" not in route.param_convertors
        and not route.path.endswith("/embed_sparse")  # which needs none
    }
    assert posts == {path: sheddable.errors for path, sheddable in SHEDDABLE.items()}


@pytest.mark.parametrize(
    ("path", "route", "error"),
    [
        ("/v1/embeddings", "/v1/embeddings", {"code": "rate_limit_exceeded"}),
        ("/models/fake/embed", "/models/{name}/embed", "more work waits than is done in time; ask again later"),
        ("/models/fake", "/models/{name}", "more work waits than is done in time; ask again later"),
        ("/v2/models/fake/infer", "/v2/models/{name}/infer", "more work waits than is done in time; ask again later"),
    ],
)
async def test_a_refusal_by_the_head_has_the_shape_of_the_dialect(server: Server, path: str, route: str, error: Any):
    await server.fill()
    async with server.connection() as connection:
        reply = await connection.ask(post(b'{"input": "w1"}', path=path))
    assert (reply.status, reply.headers["content-type"]) == (429, "application/json")
    told = reply.json()["error"]
    assert told == error or error.items() <= told.items()
    assert int(reply.headers["retry-after"]) >= 1
    assert await shed(server) == 1
    assert {(fact.route, fact.task) for fact in server.recorder.of(RequestsShed)} == {(route, "embed")}


async def test_a_model_that_is_not_there_is_not_found_however_full_it_is(server: Server):
    await server.fill()
    async with server.connection() as connection:
        assert (await connection.ask(post(path="/models/nothing/embed"))).status == 404


async def test_a_full_queue_refuses_by_the_head_and_the_connection_goes_on(server: Server):
    await server.fill()
    async with server.connection() as connection:
        for _ in range(3):
            assert (await connection.ask(post())).status == 429
        assert await shed(server) == 3
        assert not server.recorder.of(ResponseSent)
        await server.empty()
        assert (await connection.ask(post())).status == 200


async def test_the_refusal_is_like_any_other(server: Server):
    await server.fill()
    async with server.connection() as connection:
        refused = await connection.ask(post(x_request_id="r1"))
        app = httpx.ASGITransport(build_app(server.context))
        async with httpx.AsyncClient(
            transport=app, base_url="http://127.0.0.1", headers={"x-request-id": "r1"}
        ) as client:
            other = await client.post("/api/v1/embed", json={"inputs": ["w1"]})
    assert refused.headers.keys() == set(other.headers)
    assert {name: refused.headers[name] for name in ("content-type", "x-request-id", "retry-after")} == {
        "content-type": "application/problem+json",
        "x-request-id": "r1",
        "retry-after": "1",
    }
    body, others = refused.json(), other.json()
    assert body.pop("detail").endswith("ask again later")
    assert others.pop("detail").endswith("ask again later")
    assert body == others
    assert body["code"] == QueueFull.code


async def test_refusals_are_told_together(server: Server):
    await server.fill()
    for _ in range(2):
        async with server.connection() as connection:
            replies = [await connection.ask(post()) for _ in range(5)]
        assert await shed(server) == 5
        [fact] = server.recorder.of(RequestsShed)
        assert (fact.task, fact.outcome) == ("embed", "queue.full")
        assert (fact.route, fact.method, fact.status) == ("/api/v1/embed", "POST", 429)
        assert all(reply.headers["x-request-id"] == reply.json()["request_id"] for reply in replies)
        server.recorder.facts.clear()


async def test_what_needs_no_engine_is_answered(server: Server):
    await server.fill()
    async with server.connection() as connection:
        for path, status in (("/livez", 200), ("/readyz", 200), ("/api/v1/models", 200), ("/nowhere", 404)):
            assert (await connection.ask(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())).status == status
        assert (await connection.ask(post().replace(b"embed", b"nothing"))).status == 404


async def test_the_answer_does_not_wait_for_the_body_and_the_next_request_is_found_behind_it(server: Server):
    await server.fill()
    request = post(b'{"inputs": ["' + b"w" * 10_000 + b'"]}')
    async with server.connection() as connection:
        assert (await connection.ask(request[:300])).status == 429
        connection.send(request[300:5000])
        await asyncio.sleep(0.01)
        assert (await connection.ask(request[5000:] + post())).status == 429
        await server.empty()
        assert (await connection.ask(post())).status == 200


async def test_requests_in_one_piece_and_in_two_are_refused_alike(server: Server):
    await server.fill()
    request = post(x_request_id="r1")
    head_bytes = len(request) - len(BODY)
    async with server.connection() as connection:
        whole = await connection.ask(request)
        for split in (1, head_bytes - 1, head_bytes, head_bytes + 1, len(request) - 1):
            connection.send(request[:split])
            await asyncio.sleep(0.01)
            parted = await connection.ask(request[split:])
            assert (parted.status, parted.headers, parted.body) == (whole.status, whole.headers, whole.body)
            assert (await connection.ask(request)).body == whole.body
        assert await shed(server) == 11
        await server.empty()
        assert (await connection.ask(request)).status == 200


async def test_a_request_that_is_let_past_is_asked_about_once(server: Server, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    refuse_if_full = server.it.service.refuse_if_full

    def refuse(size_bytes: int, tenant_of: Callable[[], str | None]) -> None:
        asked.append(size_bytes)
        refuse_if_full(size_bytes, tenant_of)

    monkeypatch.setattr(server.it.service, "refuse_if_full", refuse)
    async with server.connection() as connection:
        assert (await connection.ask(post())).status == 200
        assert len(asked) == 1
        assert (await connection.ask(post(x_request_id="r1"))).status == 200
        connection.send(post()[:50])
        await asyncio.sleep(0.01)
        assert (await connection.ask(post()[50:])).status == 200
    assert asked == [len(BODY)] * 3


async def test_requests_that_come_together_are_answered_in_their_order(server: Server):
    await server.fill()
    async with server.connection() as connection:
        connection.send(b"".join(post(x_request_id=f"r{number}") for number in range(20)))
        ids = [(await connection.receive()).headers["x-request-id"] for _ in range(20)]
    assert ids == [f"r{number}" for number in range(20)]


async def test_a_body_that_never_ends_ends_the_connection(server: Server):
    await server.fill()
    async with server.connection() as connection:
        assert (await connection.ask(post(b"", content_length=str(1 << 30)))).status == 429
        connection.send(b"w" * (3 << 20))
        assert await connection.has_ended()


async def test_a_body_that_does_not_come_ends_the_connection(server: Server):
    await server.fill()
    async with server.connection() as connection:
        assert (await connection.ask(post(b"w", content_length="2"))).status == 429
        assert await connection.has_ended()


async def test_a_body_that_is_no_http_ends_the_connection(server: Server):
    await server.fill()
    async with server.connection() as connection:
        assert (await connection.ask(post(b"", content_length="", transfer_encoding="chunked"))).status == 429
        connection.send(b"nonsense\r\n")
        assert await connection.has_ended()


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(connection="close"),
        post(version="1.0"),
        post(expect="100-continue"),
        post().replace(b"/embed", b"/embed?a=1"),
    ],
)
async def test_what_is_not_plain_is_refused_by_the_routes(server: Server, request_bytes: bytes):
    await server.fill()
    async with server.connection() as connection:
        connection.send(request_bytes)
        with contextlib.suppress(KeyError):  # 100 Continue has no length
            reply = await connection.receive()
            assert (reply.status, json.loads(reply.body)["code"]) == (429, "queue.full")
    while not server.recorder.of(ResponseSent):
        await asyncio.sleep(0.001)
    assert await shed(server) == 0


async def test_a_server_that_stops_says_so_with_every_refusal(server: Server):
    await server.fill()
    server.context.is_draining = True
    async with server.connection() as connection:
        assert (await connection.ask(post())).headers["connection"] == "close"
    assert await shed(server) == 0
