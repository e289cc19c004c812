"""Health and reflection, as others' tools ask for them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2
from tests.support.calls import Calls, open_calls, told

from headrace.api.grpc import health

SERVING, NOT_SERVING, UNKNOWN = (
    pb.HealthCheckResponse.SERVING,
    pb.HealthCheckResponse.NOT_SERVING,
    pb.HealthCheckResponse.SERVICE_UNKNOWN,
)
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with open_calls() as calls:
        yield calls


async def refused(watching: Any) -> bool:
    try:
        return bool((await watching.read()).status != SERVING)
    except grpc.aio.AioRpcError:
        return True


def watch(calls: Calls, service: str) -> Any:
    call = calls.channel.unary_stream(WATCH, response_deserializer=pb.HealthCheckResponse.FromString)
    return call(pb.HealthCheckRequest(service=service).SerializeToString(), timeout=20)


@pytest.mark.parametrize("service", ["", "readiness", "headrace.v1.Inference", "inference.GRPCInferenceService"])
async def test_a_service_serves_until_the_server_stops(calls: Calls, service: str):
    async def check() -> Any:
        return (await calls.call(CHECK, pb.HealthCheckRequest(service=service), pb.HealthCheckResponse)).status

    assert await check() == SERVING
    calls.context.is_draining = True
    assert await check() == NOT_SERVING


async def test_the_process_lives_also_while_it_stops(calls: Calls):
    calls.context.is_draining = True
    asked = pb.HealthCheckRequest(service="liveness")
    assert (await calls.call(CHECK, asked, pb.HealthCheckResponse)).status == SERVING


async def test_a_service_that_is_none(calls: Calls):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.call(CHECK, pb.HealthCheckRequest(service="none"), pb.HealthCheckResponse)
    assert told(caught.value).status is grpc.StatusCode.NOT_FOUND
    watching = watch(calls, "none")
    assert (await watching.read()).status == UNKNOWN
    watching.cancel()


async def test_a_watcher_is_told_of_each_change(calls: Calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "_LOOK_S", 0.01)
    watching = watch(calls, "")
    assert (await watching.read()).status == SERVING
    calls.context.is_draining = True
    assert (await watching.read()).status == NOT_SERVING
    assert await watching.read() is grpc.aio.EOF


async def test_watchers_are_bounded_and_their_places_come_back(calls: Calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "_MAX_WATCHERS", 3)
    monkeypatch.setattr(health, "_LOOK_S", 0.01)
    watching = [watch(calls, "") for _ in range(3)]
    for each in watching:
        await each.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch(calls, "").read()
    assert told(caught.value).code == "readers.full"
    watching[0].cancel()
    while await refused(watch(calls, "")):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_what_is_served_can_be_asked_for(calls: Calls, version: str):
    request, response = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    asked = [{"list_services": ""}, {"file_containing_symbol": "headrace.v1.Inference"}, {"file_by_filename": "x"}]
    messages = [request(**each) for each in asked]
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    services, file, missing = [each async for each in calls.stream(path, messages, response)]
    names = {each.name for each in services.list_services_response.service}
    assert {"headrace.v1.Inference", "grpc.health.v1.Health", f"grpc.reflection.{version}.ServerReflection"} <= names
    assert b"EmbedRequest" in file.file_descriptor_response.file_descriptor_proto[0]
    assert missing.error_response.error_code == 5


@pytest.mark.parametrize(
    ("symbol", "is_known"),
    [
        ("headrace.v1.Inference", True),
        ("headrace.v1.Inference.Embed", True),  # as ghz asks
        ("inference.ModelInferRequest.InferInputTensor", True),
        ("headrace.v1.Inference.Embe", False),
        ("headrace.v1.Inference.", False),
        ("headrace.v1.Inference.Embed.Embed", False),
        ("..", False),
        ("", False),
        ("\0" * 10_000, False),
    ],
)
async def test_a_file_is_found_by_the_name_of_whatever_is_in_it(calls: Calls, symbol: str, *, is_known: bool):
    request, response = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    (found,) = [each async for each in calls.stream(path, [request(file_containing_symbol=symbol)], response)]
    assert found.original_request.file_containing_symbol == symbol
    assert bool(found.file_descriptor_response.file_descriptor_proto) is is_known
    assert found.error_response.error_code == (0 if is_known else 5)
