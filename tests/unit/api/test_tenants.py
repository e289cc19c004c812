"""Tenants at both doors of one server: while the queue is full of one's work, another is let in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from tests.support.calls import Calls, open_calls, told
from tests.support.rest_door import open_rest
from tests.support.services import ServiceUnderTest, ask, service_under_test

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.auth.base import Credentials
from headrace.errors import CallerUnknown
from headrace.observe.base import RequestsShed
from headrace.settings import EngineSettings, ServerSettings, Settings
from headrace.types import Caller, Scope

JOBS, TEXTS = 4, 8  # enough to be more than a few
EMBED = "/headrace.v1.Inference/Embed"


class Names:
    """A guard that takes everybody at their word."""

    is_local = False

    def __init__(self) -> None:
        self.asked = 0

    def identify(self, credentials: Credentials) -> Caller:
        self.asked += 1
        if credentials.key not in {"many", "few"}:
            raise CallerUnknown("nobody")
        return Caller(f"key-{credentials.key}", frozenset(Scope), credentials.key)


@contextlib.asynccontextmanager
async def flooded() -> AsyncIterator[ServiceUnderTest]:
    """Give a service whose queue is full of one tenant's work until the gate opens."""
    async with service_under_test(engine=EngineSettings(max_wait_s=0.0005)) as it:
        it.backend.gate.clear()
        many = Caller("key-many", frozenset(Scope), "many")
        texts = [[f"w{job}-{number}" for number in range(TEXTS)] for job in range(JOBS)]
        jobs = [asyncio.create_task(it.service.run(ask(*each, caller=many))) for each in texts]
        while it.registry.retry_after_s(0, 0) is None:
            await asyncio.sleep(0.001)
        yield it
        it.backend.gate.set()
        await asyncio.gather(*jobs)


@contextlib.asynccontextmanager
async def asking(it: ServiceUnderTest, guard: Names) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a REST server with this guard."""
    context = it.context(settings=Settings(server=ServerSettings(port=0, linger_s=0)))
    context.guard = guard
    async with open_rest(context) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def post(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post(
        "/api/v1/embed", json={"inputs": [f"one of {key}"]}, headers={"authorization": f"Bearer {key}"}
    )


async def test_over_rest_another_tenant_is_let_in():
    guard = Names()
    async with flooded() as it, asking(it, guard) as client, contextlib.AsyncExitStack() as stack:
        stack.callback(it.backend.gate.set)  # also when the test fails: whoever stops waits for whom it let in
        for key in ("many", "nobody"):
            refused = await post(client, key)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue.full")
        asked = guard.asked
        few = asyncio.create_task(post(client, "few"))
        while guard.asked < asked + 2 and not few.done():  # at the head, and by the route
            await asyncio.sleep(0.001)
        assert (await post(client, "many")).status_code == 429
        it.backend.gate.set()
        assert (await few).status_code == 200
        await asyncio.sleep(0.15)
        assert sum(fact.count for fact in it.recorder.of(RequestsShed)) == 3


async def test_over_grpc_another_tenant_is_let_in():
    async with flooded() as it, open_calls(it=it) as calls, contextlib.AsyncExitStack() as stack:
        stack.callback(it.backend.gate.set)
        calls.context.guard = guard = Names()
        for key in ("many", "nobody"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(calls, key)
            assert told(caught.value).code == "queue.full"
        asked = guard.asked
        few = asyncio.create_task(call(calls, "few"))
        while guard.asked < asked + 2 and not few.done():
            await asyncio.sleep(0.001)
        it.backend.gate.set()
        assert (await few).model == "fake"


async def call(calls: Calls, key: str) -> pb.EmbedResponse:
    request = pb.EmbedRequest(inputs=[f"one of {key}"])
    return await calls.call(EMBED, request, pb.EmbedResponse, metadata=[("authorization", f"Bearer {key}")])


async def test_who_calls_is_asked_only_when_the_queue_is_full():
    guard = Names()
    async with service_under_test() as it, asking(it, guard) as client:
        assert (await post(client, "few")).status_code == 200
        assert guard.asked == 1
