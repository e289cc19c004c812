"""The Open Inference Protocol over gRPC."""

import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from tests.support.calls import Calls, open_calls, told

from headrace.api.grpc.generated import open_inference_pb2 as pb
from headrace.types import Answer, Classification, Label, Request, Timings

SERVICE = "/inference.GRPCInferenceService"


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with open_calls() as calls:
        yield calls


def raw(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def typed(*texts: str, **fields: Any) -> pb.ModelInferRequest:
    tensor = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [len(texts)],
        "contents": {"bytes_contents": [text.encode() for text in texts]},
    }
    return pb.ModelInferRequest(**{"model_name": "fake", "inputs": [tensor], **fields})


def by_raw(*texts: str, **fields: Any) -> pb.ModelInferRequest:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)]}
    return pb.ModelInferRequest(
        **{"model_name": "fake", "inputs": [tensor], "raw_input_contents": [raw(*texts)], **fields}
    )


async def infer(calls: Calls, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return await calls.call(f"{SERVICE}/ModelInfer", request, pb.ModelInferResponse)


async def test_tensors_come_back_as_they_came(calls: Calls):
    plain, packed = await infer(calls, typed("a", "b c")), await infer(calls, by_raw("a", "b c"))
    assert list(plain.raw_output_contents) == []
    values = np.frombuffer(packed.raw_output_contents[0], "<f4")
    assert list(plain.outputs[0].contents.fp32_contents) == values.tolist()
    for answer in (plain, packed):
        assert (answer.outputs[0].name, list(answer.outputs[0].shape)) == ("embedding", [2, 8])
        assert answer.model_name == "fake"
        assert answer.id  # made, since none was given


async def test_bytes_may_be_asked_for(calls: Calls):
    answer = await infer(calls, typed("a", id="mine", parameters={"binary_data_output": {"bool_param": True}}))
    assert len(answer.raw_output_contents[0]) == 32
    assert answer.id == "mine"


async def test_parameters_are_options(calls: Calls):
    cut = by_raw("a", parameters={"prompt": {"string_param": "none"}})
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # the fake model has none
        await infer(calls, cut)
    assert told(caught.value).field == "options.prompt"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(calls, by_raw("w " * 30, parameters={"truncate": {"string_param": "error"}}))
    assert told(caught.value).code == "input.too_long"


async def test_texts_come_back_as_bytes(calls: Calls):
    async def run(request: Request) -> Answer:
        labels = (Label("good", 0.75), Label("bad", 0.25))
        result = Classification(labels=labels, tokens=1, truncated=False)
        return Answer(
            model="fake", revision="r", task="classify", results=(result,), timings=Timings(), tokens=1, cached=0
        )

    calls.it.service.run = run  # type: ignore[method-assign]
    calls.it.service.task_of = lambda *_: "classify"  # type: ignore[method-assign]
    plain, packed = await infer(calls, typed("a")), await infer(calls, by_raw("a"))
    assert list(plain.outputs[0].contents.bytes_contents) == [b"good", b"bad"]
    assert packed.raw_output_contents[0] == raw("good", "bad")
    only = await infer(calls, typed("a", outputs=[{"name": "scores"}]))
    assert [each.name for each in only.outputs] == ["scores"]


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [1], **fields}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": [tensor(contents={"bytes_contents": [b"a"]})], "raw_input_contents": [raw("a")]}, "contents field"),
        ({"raw_input_contents": [raw("a"), raw("b")]}, "send one for each"),
        ({"raw_input_contents": [b"\xff\xff\xff\xff"]}, "middle of a text"),
        ({"raw_input_contents": [b"\x01\0\0"]}, "middle of a length"),
        ({"raw_input_contents": [raw("a") * 2]}, "shape"),
        ({"inputs": [tensor(shape=[-1])]}, "shape"),
        ({"inputs": [tensor(shape=[2**62, 4])]}, "shape"),
        ({"inputs": [tensor(shape=[1] * 9)]}, "at most 8 items"),
        ({"inputs": [tensor(datatype="FP32")]}, "BYTES"),
        ({"inputs": [tensor(contents={"bytes_contents": [b"\xff"]})], "raw_input_contents": []}, "UTF-8"),
        ({"inputs": [], "raw_input_contents": []}, "inputs called 'text'"),
        ({"outputs": [{"name": "nothing"}]}, "no output 'nothing'"),
        ({"parameters": {"truncate": {"string_param": "often"}}}, "truncate"),
        ({"parameters": {"truncate": {"double_param": 1.5}}}, "truncate"),
    ],
)
async def test_what_is_wrong_is_told(calls: Calls, fields: dict[str, Any], message: str):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(calls, by_raw("a", **fields))
    answer = told(caught.value)
    assert answer.status is grpc.StatusCode.INVALID_ARGUMENT
    assert message in answer.message


async def test_a_version_may_be_named(calls: Calls):
    version = (await infer(calls, by_raw("a"))).model_version
    assert (await infer(calls, by_raw("a", model_version=version[:8]))).model_version == version
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(calls, by_raw("a", model_version="1"))
    assert told(caught.value).status is grpc.StatusCode.NOT_FOUND


async def test_a_stream_answers_in_order_and_none_ends_another(calls: Calls):
    requests = [typed(str(index), id=str(index)) for index in range(40)]
    requests[7] = typed("a", id="7", model_name="none")
    found = [each async for each in calls.stream(f"{SERVICE}/ModelStreamInfer", requests, pb.ModelStreamInferResponse)]
    assert [each.infer_response.id for each in found] == [str(index) for index in range(40)]
    assert [index for index, each in enumerate(found) if each.error_message] == [7]
    assert "'none'" in found[7].error_message


async def test_the_server_and_its_models_are_described(calls: Calls):
    server = await calls.call(f"{SERVICE}/ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    assert server.name == "headrace"
    model = await calls.call(f"{SERVICE}/ModelMetadata", pb.ModelMetadataRequest(name="fake"), pb.ModelMetadataResponse)
    assert [(each.name, list(each.shape)) for each in model.outputs] == [("embedding", [-1, 8])]
    index = await calls.call(f"{SERVICE}/RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse)
    assert [(each.name, each.version, each.state) for each in index.models] == [("fake", model.versions[0], "READY")]


async def test_readiness_is_that_of_the_probe(calls: Calls):
    async def ready() -> tuple[bool, bool]:
        live = await calls.call(f"{SERVICE}/ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)
        server = await calls.call(f"{SERVICE}/ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
        return live.live, server.ready

    assert await ready() == (True, True)
    asked = pb.ModelReadyRequest(name="fake")
    assert (await calls.call(f"{SERVICE}/ModelReady", asked, pb.ModelReadyResponse)).ready
    calls.context.is_draining = True
    assert await ready() == (True, False)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.call(f"{SERVICE}/ModelReady", asked, pb.ModelReadyResponse)
    assert told(caught.value).code == "service.unready"


async def test_what_was_done_is_counted(calls: Calls):
    async def count(name: str = "", version: str = "") -> list[Any]:
        asked = pb.ModelStatisticsRequest(name=name, version=version)
        return list((await calls.call(f"{SERVICE}/ModelStatistics", asked, pb.ModelStatisticsResponse)).model_stats)

    [before] = await count()
    await infer(calls, by_raw("a", "b"))
    await infer(calls, by_raw("a", "b"))
    with pytest.raises(grpc.aio.AioRpcError):
        await infer(calls, by_raw("w " * 30, parameters={"truncate": {"string_param": "error"}}))
    [one] = await count("fake")
    assert [one] == await count() == await count("fake", one.version)
    stats = one.inference_stats
    assert (stats.success.count, stats.fail.count, stats.cache_hit.count) == (2, 1, 1)
    assert stats.success.ns > 0
    assert one.inference_count - before.inference_count == 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await count("none")
    assert told(caught.value).code == "model.unknown"
