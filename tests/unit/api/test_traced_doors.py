"""Both doors with a tracer: what spans there are of a request, and what its answer and its log lines say."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.support.calls import open_calls
from tests.support.facts import Recorder
from tests.support.services import ServiceUnderTest, service_under_test

from headrace.api.grpc.generated import headrace_pb2 as pb
from headrace.api.rest.app import build_app
from headrace.observe.base import Observers
from headrace.observe.logs import LogObserver, add_request
from headrace.observe.otel import SpanObserver
from headrace.observe.traces import TRACE, SampledTracer

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-00"
EMBED = "/headrace.v1.Inference/Embed"
KEY = "a-key-of-24-characters-1"
RAN = ["authorise", "prepare", "limit", "lookup", "tokenize", "queue", "run", "finish"]


@dataclass
class Traced:
    """A service that keeps traces.

    Attributes:
        exporter: Has the spans once the observer is closed.
    """

    it: ServiceUnderTest
    exporter: InMemorySpanExporter
    observer: SpanObserver

    async def spans(self) -> list[ReadableSpan]:
        """Return all spans, the first to begin first."""
        await self.observer.aclose()
        spans = self.exporter.get_finished_spans()
        return sorted(spans, key=lambda span: (span.start_time or 0, -(span.end_time or 0)))


@pytest.fixture
async def traced(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Traced]:
    async with service_under_test() as it:
        exporter = InMemorySpanExporter()
        observer = SpanObserver(exporter, "here", Recorder())
        monkeypatch.setattr(it.service, "_observer", Observers([it.recorder, observer]))
        make = it.context

        def context(keys: Sequence[str] = (), *settings: object) -> object:
            made = make(keys, *settings)  # type: ignore[arg-type]
            made.tracer, made.observer = SampledTracer(1.0), Observers([it.recorder, observer, LogObserver()])
            return made

        monkeypatch.setattr(it, "context", context)
        yield Traced(it, exporter, observer)
        await observer.aclose()


@contextlib.asynccontextmanager
async def open_client(traced: Traced, keys: Sequence[str] = ()) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(traced.it.context(keys)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    return [span.name for span in spans]


def ids(spans: Sequence[ReadableSpan]) -> set[str]:
    return {f"{span.context.trace_id:032x}" for span in spans if span.context}


def assert_nested(spans: Sequence[ReadableSpan]) -> None:
    """Check that each span lies within that it is a part of."""
    known = {span.context.span_id: span for span in spans if span.context}
    for span in spans:
        above = known.get(span.parent.span_id) if span.parent else None
        if above is not None:
            assert (above.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0) <= (above.end_time or 0)


async def test_a_request_over_rest_has_a_span_for_each_step_in_the_trace_of_its_caller(traced: Traced):
    async with open_client(traced) as client:
        response = await client.post(
            "/api/v1/embed", json={"inputs": ["a"]}, headers={"traceparent": PARENT, "tracestate": "x=1"}
        )
    spans = await traced.spans()
    assert sorted(names(spans)) == sorted(["POST /api/v1/embed", "embed", *RAN])
    assert ids(spans) == {TRACE_ID}
    door, request, *steps = spans
    assert (door.parent and f"{door.parent.span_id:016x}") == PARENT_ID
    assert response.headers["traceparent"] == f"00-{TRACE_ID}-{door.context.span_id:016x}-01"
    assert (request.parent and request.parent.span_id) == (door.context and door.context.span_id)
    assert {step.parent and step.parent.span_id for step in steps} == {request.context and request.context.span_id}
    assert_nested(spans)


async def test_a_call_over_grpc_has_the_same(traced: Traced):
    async with open_calls(it=traced.it) as calls:
        call = calls.channel.unary_unary(EMBED)
        asked = call(pb.EmbedRequest(inputs=["a"]).SerializeToString(), metadata=[("traceparent", PARENT)], timeout=20)
        await asked
        trailing = dict(await asked.trailing_metadata())
    spans = await traced.spans()
    assert sorted(names(spans)) == sorted(["headrace.v1.Inference/Embed", "embed", *RAN])
    assert ids(spans) == {TRACE_ID}
    assert trailing["traceparent"] == f"00-{TRACE_ID}-{spans[0].context.span_id:016x}-01"
    assert_nested(spans)


async def test_each_request_of_a_stream_is_below_the_stream(traced: Traced):
    async with open_calls(it=traced.it) as calls:
        messages = [pb.StreamRequest(id=str(each), embed=pb.EmbedRequest(inputs=[str(each)])) for each in range(3)]
        stream = calls.stream("/headrace.v1.Inference/Stream", messages, pb.StreamResponse)
        assert len([answer async for answer in stream]) == 3
    spans = await traced.spans()
    (door,) = [span for span in spans if span.name == "headrace.v1.Inference/Stream"]
    requests = [span for span in spans if span.name == "embed"]
    assert {span.parent and span.parent.span_id for span in requests} == {door.context and door.context.span_id}
    assert (len(requests), len(ids(spans))) == (3, 1)


async def test_what_is_remembered_is_looked_up_and_not_run(traced: Traced):
    async with open_client(traced) as client:
        for _ in range(2):
            await client.post("/api/v1/embed", json={"inputs": ["a"]})
    spans = await traced.spans()
    (second,) = [span for span in spans if (span.attributes or {}).get("headrace.cached") == 1]
    own = second.context and second.context.span_id
    below = [each.name for each in spans if each.parent and each.parent.span_id == own]
    assert below == ["authorise", "prepare", "limit", "lookup", "finish"]


async def test_without_a_trace_of_its_caller_each_request_begins_one(traced: Traced):
    async with open_client(traced) as client:
        answers = [
            await client.post("/api/v1/embed", json={"inputs": ["a"]}, headers=headers)
            for headers in ([], [("traceparent", "x")], [("traceparent", PARENT)] * 2)
        ]
    told = [answer.headers["traceparent"].split("-")[1] for answer in answers]
    assert len({*told, TRACE_ID}) == 4
    assert ids(await traced.spans()) == set(told)


async def test_a_caller_that_keeps_no_spans_gets_none_and_is_told_its_trace(traced: Traced):
    async with open_client(traced) as client:
        response = await client.post("/api/v1/embed", json={"inputs": ["a"]}, headers={"traceparent": UNSAMPLED})
    assert response.headers["traceparent"].startswith(f"00-{TRACE_ID}-")
    assert response.headers["traceparent"].endswith("-00")
    assert await traced.spans() == []


async def test_the_lines_of_a_request_have_its_trace(traced: Traced):
    with structlog.testing.capture_logs(processors=[add_request]) as lines:
        async with open_client(traced) as client:
            await client.post("/api/v1/embed", json={"inputs": ["a"]}, headers={"traceparent": PARENT})
        async with open_calls(it=traced.it) as calls:
            message = pb.EmbedRequest(inputs=["b"])
            await calls.call(EMBED, message, pb.EmbedResponse, metadata=[("traceparent", PARENT)])
    assert [(line["event"], line["trace_id"]) for line in lines] == [
        ("response.sent", TRACE_ID),
        ("call.ended", TRACE_ID),
    ]
    assert TRACE.get() is None


async def test_what_is_refused_has_a_span_as_well(traced: Traced):
    async with open_client(traced, [KEY]) as client:
        await client.post("/api/v1/embed", json={"inputs": ["a"]})
        await client.get("/no/such/path")
        await client.post("/api/v1/embed", json={"inputs": []}, headers={"authorization": f"Bearer {KEY}"})
    spans = await traced.spans()
    told = [(span.name, (span.attributes or {}).get("http.response.status_code")) for span in spans]
    assert told[:3] == [("POST /api/v1/embed", 401), ("GET", 404), ("POST /api/v1/embed", 422)]
    assert [(span.name, span.status.is_unset) for span in spans[3:]] == [
        ("embed", False),
        ("authorise", True),
        ("prepare", False),
    ]
    assert (spans[3].attributes or {})["error.type"] == "request.invalid"


async def test_without_a_tracer_nothing_is_said_of_traces():
    async with service_under_test() as it:
        transport = httpx.ASGITransport(build_app(it.context()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            response = await client.post("/api/v1/embed", json={"inputs": ["a"]}, headers={"traceparent": PARENT})
    async with open_calls() as calls:
        asked = calls.channel.unary_unary(EMBED)(b"", metadata=[("traceparent", PARENT)], timeout=20)
        with pytest.raises(grpc.aio.AioRpcError):
            await asked
        assert "traceparent" not in dict(await asked.trailing_metadata())
    assert "traceparent" not in response.headers


async def test_no_key_and_no_text_is_in_a_span(traced: Traced):
    secret, text = "canary-key-of-many-characters", "canary text nobody may see"
    headers = {"authorization": f"Bearer {secret}", "x-request-id": "canary-id", "x-routing-key": "canary-routing"}
    async with open_client(traced, [secret]) as client:
        for asked in ({"inputs": [text]}, {"inputs": [text], "model": "canary-model"}, {"inputs": [text], "canary": 1}):
            await client.post("/api/v1/embed", json=asked, headers=headers)
        await client.get(f"/canary-path?text={text}", headers=headers)
        await client.request("CANARY", "/api/v1/embed", headers=headers)
    spans = await traced.spans()
    assert len(spans) > 10
    assert not [span for span in spans if "canary" in span.to_json().lower()]
