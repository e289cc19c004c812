"""What every RPC has: a guard, a parser, an id, a fact, and an end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from tests.support.calls import Calls, open_calls, told
from tests.support.services import service_under_test

from headrace.api.grpc.exchange import peer_host
from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.api.grpc.rpcs import GuardedHandlers, Streamed, Unary
from headrace.api.grpc.server import declare
from headrace.auth.base import Credentials
from headrace.errors import QueueFull
from headrace.observe.base import CallEnded
from headrace.types import Caller, Scope

KEY = "a-key-of-24-characters-1"
EMBED = "/headrace.v1.Inference/Embed"
STREAM = "/headrace.v1.Inference/Stream"
MODELS = "/headrace.v1.Models/ListModels"
OPEN = {
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "inference.GRPCInferenceService/ServerLive",
    "inference.GRPCInferenceService/ServerReady",
}
METHODS = {f"{service.full_name}/{method.name}": method for service in declare() for method in service.methods}
HELLO = pb.EmbedRequest(inputs=["a"])


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with open_calls() as calls:
        yield calls


@pytest.fixture
async def guarded() -> AsyncIterator[Calls]:
    async with open_calls([KEY]) as calls:
        yield calls


async def refusal(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


async def refusal_or_nothing(awaitable: Any) -> grpc.aio.AioRpcError | None:
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def call_any(calls: Calls, path: str, method: MethodDescriptor, **options: Any) -> grpc.StatusCode:
    """Call any RPC with an empty message, and return the status of its first answer."""
    channel = calls.channel
    if not method.server_streaming:
        call: Any = channel.unary_unary(f"/{path}")(b"", timeout=20, **options)
    elif method.client_streaming:
        call = channel.stream_stream(f"/{path}")([b""], timeout=20, **options)
    else:
        call = channel.unary_stream(f"/{path}")(b"", timeout=20, **options)
    try:
        if method.server_streaming:
            await call.read()
            call.cancel()
            return grpc.StatusCode.OK if call.cancelled() else await call.code()
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def unguarded(calls: Calls, methods: dict[str, MethodDescriptor]) -> set[str]:
    """Return the RPCs that answer without credentials something other than that there are none."""
    statuses = {path: await call_any(calls, path, method) for path, method in methods.items()}
    return {path for path, status in statuses.items() if status is not grpc.StatusCode.UNAUTHENTICATED}


async def test_every_rpc_asks_the_guard_but_the_probes(guarded: Calls):
    assert len(METHODS) > 20
    assert await unguarded(guarded, METHODS) == OPEN


async def test_an_rpc_without_a_guard_would_be_found(monkeypatch: pytest.MonkeyPatch):
    service = pb.DESCRIPTOR.services_by_name["Models"]

    async def planted(_exchange: Any, _message: Any) -> Any:
        return pb.Model()

    declared = {**declare(), service: {name: Unary(planted, is_open=True) for name in ("ListModels", "GetModel")}}
    monkeypatch.setattr("headrace.api.grpc.server.declare", lambda: declared)
    async with open_calls([KEY]) as calls:
        found = await unguarded(calls, METHODS)
    assert found - OPEN == {"headrace.v1.Models/ListModels", "headrace.v1.Models/GetModel"}


async def test_an_rpc_that_nobody_declared_is_no_server(calls: Calls):
    with pytest.raises(KeyError):
        GuardedHandlers(calls.context, {pb.DESCRIPTOR.services_by_name["Models"]: {}})


def test_every_service_is_declared_by_what_answers_it():
    assert {type(each) for rpcs in declare().values() for each in rpcs.values()} == {Unary, Streamed}


async def test_with_the_wrong_scope_nothing_is_done(guarded: Calls, monkeypatch: pytest.MonkeyPatch):
    class Narrow:
        is_local = False

        def identify(self, credentials: Credentials) -> Caller:
            return Caller("narrow", frozenset({Scope.METRICS_READ}))

    monkeypatch.setattr(guarded.context, "guard", Narrow())
    none_needed = {"ServerMetadata", "ServerReflectionInfo", "Stream", "ModelStreamInfer"}
    statuses = {
        path: await call_any(guarded, path, method)
        for path, method in METHODS.items()
        if path not in OPEN and method.name not in none_needed
    }
    # An empty message is refused for what it lacks where that comes first.
    early = {"headrace.v1.Inference/Similarity", "headrace.v1.Inference/Rerank", "headrace.v1.Inference/Answer"}
    wrong = {path for path, status in statuses.items() if status is not grpc.StatusCode.PERMISSION_DENIED}
    assert wrong == early


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", f"Bearer {KEY}x"),),
        (("authorization", "Bearer"),),
        (("authorization", f"Basic {KEY}"),),
        (("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")),
        (("authorization-bin", KEY.encode()),),
        (("x-api-key", ""),),
    ],
)
async def test_credentials_that_are_none(guarded: Calls, metadata: tuple[tuple[str, str], ...]):
    error = await refusal(guarded.call(EMBED, HELLO, pb.EmbedResponse, metadata=metadata))
    assert told(error).status is grpc.StatusCode.UNAUTHENTICATED
    assert KEY not in str(error)


@pytest.mark.parametrize("metadata", [(("authorization", f"bearer {KEY}"),), (("x-api-key", KEY),)])
async def test_credentials_that_are_good(guarded: Calls, metadata: tuple[tuple[str, str], ...]):
    assert (await guarded.call(EMBED, HELLO, pb.EmbedResponse, metadata=metadata)).model == "fake"


@pytest.mark.parametrize("path", ["/headrace.v1.Inference//Embed", "/headrace.v1.inference/Embed", "/Embed", "/"])
async def test_a_path_that_is_none_reaches_nothing(calls: Calls, path: str):
    assert (await refusal(calls.call(path, HELLO, pb.EmbedResponse))).code() is grpc.StatusCode.UNIMPLEMENTED
    assert calls.it.recorder.of(CallEnded) == []


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 20, b"\x0a\x05ab", b"\x12\x02\xff\xfe", b"\x12\x02\xc3\x28", b"\x0b" * 1000],
    ids=["no message", "cut off", "no utf-8", "half a character", "groups in groups"],
)
async def test_bytes_that_are_no_message(calls: Calls, data: bytes):
    answer = told(await refusal(calls.call(EMBED, data, pb.EmbedResponse)))
    assert (answer.status, answer.code) == (grpc.StatusCode.INVALID_ARGUMENT, "request.malformed")


async def test_fields_that_nobody_knows_are_no_error(calls: Calls):
    data = HELLO.SerializeToString() + b"\xfa\x07\x03abc"
    assert (await calls.call(EMBED, data, pb.EmbedResponse)).model == "fake"


async def test_a_call_keeps_its_id_and_is_a_fact(calls: Calls):
    call = calls.channel.unary_unary(EMBED)(HELLO.SerializeToString(), metadata=(("x-request-id", "mine"),))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine"
    await refusal(calls.call(EMBED, pb.EmbedRequest(), pb.EmbedResponse))
    facts = calls.it.recorder.of(CallEnded)
    assert [(fact.method, fact.status, fact.caller) for fact in facts] == [
        ("headrace.v1.Inference/Embed", "OK", "local"),
        ("headrace.v1.Inference/Embed", "INVALID_ARGUMENT", "local"),
    ]
    assert facts[0].request_id == "mine"


async def test_what_nobody_foresaw_says_nothing_of_the_inside(calls: Calls, capsys: pytest.CaptureFixture[str]):
    async def fail(_request: object) -> Any:
        raise RuntimeError("the secret of the house")

    calls.it.service.run = fail  # type: ignore[method-assign,assignment]
    answer = told(await refusal(calls.call(EMBED, HELLO, pb.EmbedResponse, metadata=(("x-request-id", "mine"),))))
    assert (answer.status, answer.code) == (grpc.StatusCode.INTERNAL, None)
    assert "secret" not in answer.message
    assert "mine" in answer.message
    assert "the secret of the house" in capsys.readouterr().out


async def test_a_full_server_refuses_before_it_reads(calls: Calls, monkeypatch: pytest.MonkeyPatch):
    sizes = []

    def refuse(size_bytes: int, _tenant_of: object) -> None:
        sizes.append(size_bytes)
        raise QueueFull("later", retry_after_s=1.25)

    monkeypatch.setattr(calls.it.service, "refuse_if_full", refuse)
    answer = told(await refusal(calls.call(EMBED, b"\xff" * 20, pb.EmbedResponse)))
    assert (answer.status, answer.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue.full")
    assert answer.retry_after_s == 1.25
    assert sizes == [20]


async def test_a_caller_that_leaves_costs_nothing_more():
    async with service_under_test() as it, open_calls(it=it) as calls:
        it.backend.gate.clear()
        held = calls.channel.unary_unary(EMBED)(HELLO.SerializeToString())
        while not it.backend.batches:
            await asyncio.sleep(0.01)
        waiting = calls.channel.unary_unary(EMBED)(pb.EmbedRequest(inputs=["b"]).SerializeToString())
        await asyncio.sleep(0.1)
        waiting.cancel()
        while len(it.recorder.of(CallEnded)) < 1:
            await asyncio.sleep(0.01)
        assert [fact.status for fact in it.recorder.of(CallEnded)] == ["CANCELLED"]
        it.backend.gate.set()
        await held
        await calls.call(EMBED, pb.EmbedRequest(inputs=["c"]), pb.EmbedResponse)
        assert it.backend.batches == [(1, 3), (1, 3)]  # "b" was never run


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.2])
async def test_a_deadline_is_kept(seconds: float):
    async with service_under_test() as it, open_calls(it=it) as calls:
        it.backend.gate.clear()
        error = await refusal(calls.call(EMBED, HELLO, pb.EmbedResponse, timeout=seconds))
        it.backend.gate.set()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_servers_own_limit_is_kept():
    async with service_under_test() as it, open_calls(it=it, request_timeout_s=0.2) as calls:
        it.backend.gate.clear()
        answer = told(await refusal(calls.call(EMBED, HELLO, pb.EmbedResponse, timeout=1e9)))
        it.backend.gate.set()
    assert (answer.status, answer.code) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline.exceeded")


async def test_a_message_over_the_limit_is_refused():
    async with open_calls(max_body_bytes=1024) as calls:
        long = pb.EmbedRequest(inputs=["a" * 2000])
        error = await refusal(calls.call(EMBED, long, pb.EmbedResponse))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_is_compressed_is_not_unpacked(calls: Calls):
    error = await refusal(
        calls.call(EMBED, pb.EmbedRequest(inputs=["a" * 4000]), pb.EmbedResponse, compression=grpc.Compression.Gzip)
    )
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_what_a_caller_may_still_send_is_told():
    async with service_under_test(rules="1 requests/s burst=2") as it, open_calls(it=it) as calls:
        call = calls.channel.unary_unary(EMBED)(HELLO.SerializeToString())
        await call
        assert dict(await call.trailing_metadata())["ratelimit"].startswith('"requests";r=1;')
        await calls.call(EMBED, HELLO, pb.EmbedResponse)
        error = await refusal(calls.call(EMBED, HELLO, pb.EmbedResponse))
    assert told(error).code == "limit.exceeded"
    assert told(error).retry_after_s
    assert str(dict(error.trailing_metadata() or ())["ratelimit"]).startswith('"requests";r=0;')


async def test_a_stop_answers_what_was_begun():
    async with service_under_test() as it, open_calls(it=it, linger_s=1) as calls:
        it.backend.gate.clear()
        running = asyncio.ensure_future(calls.call(EMBED, HELLO, pb.EmbedResponse))
        while not it.backend.batches:
            await asyncio.sleep(0.01)
        calls.stop.set()
        while (error := await refusal_or_nothing(calls.call(MODELS, b"", pb.ListModelsResponse))) is None:
            await asyncio.sleep(0.01)
        assert told(error).code == "service.stopping"
        it.backend.gate.set()
        assert (await running).model == "fake"


async def test_a_stop_answers_what_a_stream_has_sent_and_says_that_it_reads_no_more():
    async def requests() -> AsyncIterator[pb.StreamRequest]:
        for index in range(5):
            yield pb.StreamRequest(id=str(index), embed=HELLO)
        await asyncio.sleep(60)

    async with service_under_test() as it, open_calls(it=it, linger_s=0.3) as calls:
        it.backend.gate.clear()
        stream = calls.stream(STREAM, requests(), pb.StreamResponse)
        while not it.backend.batches:
            await asyncio.sleep(0.01)
        calls.stop.set()
        await asyncio.sleep(0.35)
        it.backend.gate.set()
        assert {(await stream.read()).id for _ in range(5)} == set("01234")
        assert told(await refusal(stream.read())).code == "service.stopping"


async def test_a_stream_ends_when_its_key_does(guarded: Calls):
    async def requests() -> AsyncIterator[pb.StreamRequest]:
        yield pb.StreamRequest(id="1", embed=HELLO)
        await first.wait()
        guarded.context.guard.learn_fixed(["another-key-of-24-characters"])  # type: ignore[attr-defined]
        yield pb.StreamRequest(id="2", embed=HELLO)

    first = asyncio.Event()
    stream = guarded.stream(STREAM, requests(), pb.StreamResponse, metadata=(("x-api-key", KEY),))
    assert (await stream.read()).id == "1"
    first.set()
    assert told(await refusal(stream.read())).status is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:40000", "127.0.0.1"),
        ("ipv6:[::1]:40000", "::1"),
        ("ipv6:%5B::1%5D:40000", "::1"),
        ("unix:/run/x.sock", None),
        ("", None),
    ],
)
def test_who_is_at_the_other_end(peer: str, host: str | None):
    assert peer_host(peer) == host
