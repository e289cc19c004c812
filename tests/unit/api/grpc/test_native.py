"""Our own API over gRPC: what JSON says, in messages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.bodies import BODIES, RESULTS
from tests.support.calls import Calls, open_calls, told

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.api.rest.app import build_app
from headrace.errors import QueueFull
from headrace.observe.base import CallEnded, RequestFinished
from headrace.tasks import TASKS
from headrace.types import Answer, Request, TaskName, Timings


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with open_calls() as calls:
        yield calls


def message_of(task: TaskName, body: dict[str, Any]) -> Any:
    """Return what JSON says, as a message."""
    fields = {"inputs": ["abc", ""], **body}
    options = dict(fields.pop("options", {}))
    for name in ("truncate", "aggregation"):
        if name in options:
            options[name] = f"{name.upper()}_{options[name].upper()}"
    return getattr(pb, f"{task.capitalize()}Request")(**fields, options=options)


@pytest.mark.parametrize("task", TASKS)
async def test_a_message_asks_and_answers_what_json_does(calls: Calls, task: TaskName):
    asked: list[Request] = []

    async def run(request: Request) -> Answer:
        asked.append(request)
        timings = Timings(queue_s=0.001, tokenize_s=0.002, run_s=0.003, total_s=0.004)
        return Answer(
            model="fake", revision="r", task=task, results=(RESULTS[task],), timings=timings, tokens=7, cached=1
        )

    calls.it.service.run = run  # type: ignore[method-assign]
    answer = await calls.call(
        f"/headrace.v1.Inference/{task.capitalize()}",
        message_of(task, BODIES[task]),
        getattr(pb, f"{task.capitalize()}Response"),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(calls.context)), base_url="http://127.0.0.1"
    ) as client:
        response = await client.post(f"/api/v1/{task}", json={"inputs": ["abc", ""], **BODIES[task]})
    known = response.json()
    assert known.pop("task") == task
    known["usage"] = {name: str(value) for name, value in known["usage"].items()}  # as protobuf writes 64 bits
    shown = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    assert shown == known
    by_message, by_json = asked
    for name in ("task", "inputs", "query", "labels", "model", "options"):
        assert getattr(by_message, name) == getattr(by_json, name)


@pytest.mark.parametrize(
    ("task", "body", "code", "field"),
    [
        ("embed", {"inputs": []}, "request.invalid", "inputs"),
        ("embed", {"inputs": ["a"] * 9}, "request.too_large", "inputs"),
        ("embed", {"inputs": ["a" * 101]}, "request.too_large", "inputs[0]"),
        ("embed", {"options": {"dimensions": 0}}, "request.invalid", "options.dimensions"),
        ("embed", {"options": {"prompt": "none"}}, "request.invalid", "options.prompt"),
        ("embed", {"inputs": ["a"] * 2 + ["w " * 40], "options": {"truncate": "error"}}, "input.too_long", "inputs[2]"),
        ("embed", {"model": "none"}, "model.unknown", "model"),
        ("embed", {"model": "../etc"}, "model.unknown", "model"),
        ("classify", {}, "task.unsupported", "model"),
        ("classify", {"options": {"threshold": float("nan")}}, "request.invalid", "options.threshold"),
        ("fill", {"options": {"top_k": 65}}, "request.invalid", "options.top_k"),
        ("similarity", {}, "request.invalid", "query"),
        ("similarity", {"query": "q" * 101}, "request.too_large", "query"),
        ("zeroshot", {"labels": ["a"] * 9}, "task.unsupported", "model"),
    ],
)
async def test_what_is_refused_is_refused_as_over_rest(
    calls: Calls, task: TaskName, body: dict[str, Any], code: str, field: str | None
):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.call(f"/headrace.v1.Inference/{task.capitalize()}", message_of(task, body), pb.EmbedResponse)
    answer = told(caught.value)
    assert (answer.code, answer.field) == (code, field)
    one = pb.StreamRequest(id="1", **{task: message_of(task, body)})
    [error] = [each.error async for each in calls.stream("/headrace.v1.Inference/Stream", [one], pb.StreamResponse)]
    assert (error.code, error.field or None) == (code, field)
    if "nan" in str(body):
        return  # which JSON cannot say
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(calls.context)), base_url="http://127.0.0.1"
    ) as client:
        problem = (await client.post(f"/api/v1/{task}", json={"inputs": ["abc", ""], **body})).json()
    assert (problem["code"], problem.get("field")) == (code, field)
    assert problem["detail"] == answer.message == error.message


async def test_a_stream_answers_each_request_and_none_ends_another(calls: Calls):
    def requests() -> list[pb.StreamRequest]:
        good = [pb.StreamRequest(id=str(index), embed={"inputs": [f"text {index}"]}) for index in range(60)]
        return [
            *good,
            pb.StreamRequest(id="none"),
            pb.StreamRequest(id="other", classify={"inputs": ["a"]}),
            pb.StreamRequest(id="query", similarity={"inputs": ["a"], "query": "a"}),
        ]

    found = {
        each.id: each async for each in calls.stream("/headrace.v1.Inference/Stream", requests(), pb.StreamResponse)
    }
    assert len(found) == 63
    assert {each.embed.results[0].tokens for key, each in found.items() if key.isdigit()} == {4}
    assert (found["none"].error.code, found["none"].error.field) == ("request.invalid", "request")
    assert (found["other"].error.code, found["other"].error.retryable) == ("task.unsupported", False)
    assert found["query"].similarity.results[0].score == pytest.approx(1)


async def test_a_stream_is_read_no_further_than_there_is_room(calls: Calls):
    taken = 0

    async def requests() -> AsyncIterator[pb.StreamRequest]:
        nonlocal taken
        for index in range(1000):
            taken += 1
            yield pb.StreamRequest(id=str(index), embed={"inputs": ["a" * 99] * 8})

    calls.it.backend.gate.clear()
    stream = calls.stream("/headrace.v1.Inference/Stream", requests(), pb.StreamResponse, timeout=120)
    reading = asyncio.ensure_future(stream.read())
    while calls.it.backend.batches == []:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    before = taken
    await asyncio.sleep(0.3)
    assert taken == before < 1000  # it waits with the server
    calls.it.backend.gate.set()
    found, answer = set(), await reading
    while answer is not grpc.aio.EOF:
        found.add(answer.id)
        answer = await stream.read()
    assert len(found) == 1000


async def test_a_stream_waits_while_the_queue_is_full(calls: Calls, monkeypatch: pytest.MonkeyPatch):
    run, refused = calls.it.service.run, []

    async def sometimes(request: Request) -> Answer:
        if request.inputs[0] not in refused:
            refused.append(request.inputs[0])
            raise QueueFull("later", retry_after_s=0.01)
        return await run(request)

    monkeypatch.setattr(calls.it.service, "run", sometimes)
    requests = [pb.StreamRequest(id=str(index), embed={"inputs": [str(index)]}) for index in range(5)]
    found = [each async for each in calls.stream("/headrace.v1.Inference/Stream", requests, pb.StreamResponse)]
    assert {each.WhichOneof("outcome") for each in found} == {"embed"}
    assert len(refused) == 5


async def test_a_stream_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    async def never(_request: Request) -> Answer:
        raise QueueFull("later", retry_after_s=0.1)

    async with open_calls(request_timeout_s=0.3) as calls:
        monkeypatch.setattr(calls.it.service, "run", never)
        one = pb.StreamRequest(id="1", embed={"inputs": ["a"]})
        [found] = [each async for each in calls.stream("/headrace.v1.Inference/Stream", [one], pb.StreamResponse)]
    assert (found.error.code, found.error.retryable) == ("queue.full", True)


async def test_models_are_told(calls: Calls):
    models = await calls.call("/headrace.v1.Models/ListModels", pb.ListModelsRequest(), pb.ListModelsResponse)
    one = await calls.call("/headrace.v1.Models/GetModel", pb.GetModelRequest(name="fake"), pb.Model)
    assert list(models.models) == [one]
    assert (one.name, one.role, one.task, one.dimensions) == ("fake", "champion", "embed", 8)
    assert not one.HasField("share")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.call("/headrace.v1.Models/GetModel", pb.GetModelRequest(name="none"), pb.Model)
    assert told(caught.value).code == "model.unknown"


def test_the_results_of_every_task_are_made_here():
    assert set(RESULTS) == set(BODIES) == set(TASKS)


async def test_a_caller_that_leaves_a_stream_leaves_nothing_behind(calls: Calls):
    requests = [pb.StreamRequest(id=str(index), embed={"inputs": [str(index)]}) for index in range(200)]
    stream = calls.stream("/headrace.v1.Inference/Stream", requests, pb.StreamResponse)
    await stream.read()
    stream.cancel()
    while not (ended := calls.it.recorder.of(CallEnded)):
        await asyncio.sleep(0.01)
    assert [fact.status for fact in ended] == ["CANCELLED"]
    assert calls.it.recorder.of(RequestFinished)[-1].outcome in {"ok", "caller.left"}
    answer = await calls.call("/headrace.v1.Inference/Embed", pb.EmbedRequest(inputs=["a"]), pb.EmbedResponse)
    assert answer.model == "fake"
