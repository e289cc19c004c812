import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.support.collector import running_collector
from tests.support.facts import Recorder

from headrace.observe import otel
from headrace.observe.base import CallEnded, Fact, QueueChanged, RequestFinished, ResponseSent, SpansLost
from headrace.observe.otel import MAX_QUEUED, SpanObserver, make_exporter
from headrace.observe.traces import Step, Trace
from headrace.settings import TraceSettings
from headrace.types import Caller, Timings

TRACE = Trace(trace_id="a" * 32, span_id="b" * 16, parent_id="c" * 16, is_sampled=True, state="x=1")
RESPONSE = ResponseSent(
    route="/api/v1/models/{name}",
    method="GET",
    path="/api/v1/models/made-up-path",
    status=200,
    request_id="made-up-id",
    caller="made-up-caller",
    duration_s=0.5,
    trace=TRACE,
)
CALL = CallEnded(
    method="headrace.v1.Inference/Embed",
    status="OK",
    request_id="made-up-id",
    caller="made-up-caller",
    duration_s=0.5,
    trace=TRACE,
)
REQUEST = RequestFinished(
    caller=Caller("made-up-caller", frozenset()),
    task="embed",
    model="minilm",
    outcome="ok",
    inputs=3,
    cached=1,
    tokens=30,
    timings=Timings(total_s=0.25),
    revision="0" * 64,
    trace=TRACE,
    steps=(Step("authorise", 0, 0.125), Step("lookup", 0.125, 0.0625)),
)


async def spans_of(*facts: Fact) -> list[ReadableSpan]:
    """Return the spans that are made of facts, in the order in which they are sent."""
    exporter = InMemorySpanExporter()
    observer = SpanObserver(exporter, "here", Recorder())
    for fact in facts:
        observer.observe(fact)
    await observer.aclose()
    return list(exporter.get_finished_spans())


def took_s(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


class Failing(SpanExporter):
    """Fails as it is told, until it is told otherwise."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sizes: list[int] = []
        self.is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        if self.error is not None:
            raise self.error
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.is_shut = True


class Hanging(Failing):
    """Says nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        self.asked.set()
        self.let_go.wait(20)
        return SpanExportResult.SUCCESS


async def test_a_response_is_a_span_of_the_server_below_that_of_its_caller():
    (span,) = await spans_of(RESPONSE)
    assert (span.name, span.kind, took_s(span)) == ("GET /api/v1/models/{name}", SpanKind.SERVER, 0.5)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/v1/models/{name}",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    own, parent = span.context, span.parent
    assert own is not None
    assert parent is not None
    assert (own.trace_id, own.span_id) == (int("a" * 32, 16), int("b" * 16, 16))
    assert (parent.span_id, parent.is_remote, parent.trace_flags.sampled) == (int("c" * 16, 16), True, True)
    assert (own.trace_state.to_header(), span.status.is_unset) == ("x=1", True)
    assert abs((span.end_time or 0) / 1e9 - time.time()) < 60
    assert {name: span.resource.attributes[name] for name in ("service.name",)} == {"service.name": "here"}


async def test_a_trace_that_begins_here_has_no_caller():
    (span,) = await spans_of(replace(RESPONSE, trace=replace(TRACE, parent_id="", state="")))
    assert span.parent is None


@pytest.mark.parametrize(("status", "error"), [(404, None), (499, None), (500, "500"), (503, "503")])
async def test_what_the_server_is_to_blame_for_is_an_error(status: int, error: str | None):
    (span,) = await spans_of(replace(RESPONSE, status=status))
    assert (span.attributes or {}).get("error.type") == error
    assert span.status.is_unset == (error is None)


async def test_nothing_that_a_caller_made_up_is_in_a_span():
    (span,) = await spans_of(replace(RESPONSE, method="MADE-UP", route="", status=0))
    assert span.name == "HTTP"
    assert span.attributes == {"http.request.method": "_OTHER", "url.scheme": "http"}
    spans = await spans_of(RESPONSE, CALL, REQUEST)
    assert len(spans) == 5
    assert not [span for span in spans if "made-up" in span.to_json()]


@pytest.mark.parametrize(("status", "is_error"), [("OK", False), ("INVALID_ARGUMENT", False), ("UNAVAILABLE", True)])
async def test_a_call_is_a_span_of_the_server(status: str, is_error: bool):
    (span,) = await spans_of(replace(CALL, status=status))
    assert (span.name, span.kind, took_s(span)) == ("headrace.v1.Inference/Embed", SpanKind.SERVER, 0.5)
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "headrace.v1.Inference/Embed",
        "rpc.response.status_code": status,
        **({"error.type": status} if is_error else {}),
    }
    assert span.status.is_unset != is_error


async def test_a_request_is_below_the_door_and_its_steps_are_below_it():
    request, *steps = await spans_of(REQUEST)
    assert request.attributes == {
        "headrace.task": "embed",
        "headrace.model": "minilm",
        "headrace.revision": "0" * 64,
        "headrace.inputs": 3,
        "headrace.cached": 1,
        "headrace.tokens": 30,
        "headrace.outcome": "ok",
    }
    assert request.parent is not None
    assert request.parent.span_id == int("b" * 16, 16)
    assert [step.name for step in steps] == ["authorise", "lookup"]
    assert [step.parent and step.parent.span_id for step in steps] == [request.context and request.context.span_id] * 2
    assert len({span.context.span_id for span in (request, *steps) if span.context}) == 3
    assert [took_s(span) for span in (request, *steps)] == [0.1875, 0.125, 0.0625]
    assert (steps[0].start_time, steps[1].end_time) == (request.start_time, request.end_time)
    assert {span.kind for span in (request, *steps)} == {SpanKind.INTERNAL}


async def test_a_request_that_failed_says_so_and_in_which_step():
    request, *steps = await spans_of(replace(REQUEST, outcome="queue.full"))
    assert (request.attributes or {})["error.type"] == "queue.full"
    assert [span.status.is_unset for span in (request, *steps)] == [False, True, False]


async def test_of_probes_of_other_facts_and_of_what_is_not_sampled_there_are_no_spans():
    facts: list[Fact] = []
    for trace in (None, replace(TRACE, is_sampled=False)):
        facts += [replace(RESPONSE, trace=trace), replace(CALL, trace=trace), replace(REQUEST, trace=trace)]
    probes: list[Fact] = [replace(RESPONSE, route="/readyz"), replace(CALL, method="grpc.health.v1.Health/Check")]
    assert await spans_of(*facts, *probes, QueueChanged(model="minilm", waiting=1)) == []


async def test_all_that_is_queued_is_sent_at_the_end_in_batches():
    exporter = InMemorySpanExporter()
    observer = SpanObserver(exporter, "here", Recorder())
    for _ in range(1000):
        observer.observe(RESPONSE)
    await observer.aclose()
    assert len(exporter.get_finished_spans()) == 1000


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
async def test_spans_that_cannot_be_sent_are_counted_and_disturb_nobody(error: Exception | None):
    exporter, recorder = Failing(error), Recorder()
    observer = SpanObserver(exporter, "here", recorder)
    with structlog.testing.capture_logs() as lines:
        observer.observe(REQUEST)
        await observer.aclose()
    await asyncio.sleep(0)
    assert recorder.facts == [SpansLost(reason="export_failed", count=3)]
    assert [line["event"] for line in lines] == (["spans.unsent"] if error else [])
    assert exporter.is_shut


async def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otel, "_STOP_LIMIT_S", 0.05)
    exporter, recorder = Hanging(), Recorder()
    observer = SpanObserver(exporter, "here", recorder)
    for _ in range(128):  # as many wake the thread
        observer.observe(RESPONSE)
    assert await asyncio.to_thread(exporter.asked.wait, 20)
    for _ in range(3 * MAX_QUEUED):
        observer.observe(REQUEST)
    assert len(observer._queue) == MAX_QUEUED
    await observer.aclose()
    assert exporter.is_shut
    exporter.let_go.set()
    await asyncio.to_thread(observer._thread.join, 20)
    await asyncio.sleep(0)
    assert recorder.facts == [SpansLost(reason="queue_full", count=2 * MAX_QUEUED * 3)]
    assert exporter.sizes == [128]  # nothing more was sent when the end was over


async def test_how_long_a_path_is_does_not_matter_to_the_queue():
    observer = SpanObserver(InMemorySpanExporter(), "here", Recorder())
    observer.observe(replace(RESPONSE, path="/" + "a" * 100_000))
    (waiting,) = observer._queue
    assert len(repr(waiting)) < 1000
    await observer.aclose()


async def test_what_comes_after_a_failure_is_tried_at_the_end():
    exporter = Failing()
    observer = SpanObserver(exporter, "here", Recorder())
    for _ in range(128):  # as many wake the thread
        observer.observe(RESPONSE)
    while not exporter.sizes:
        await asyncio.sleep(0.001)
    observer.observe(RESPONSE)
    await observer.aclose()
    assert exporter.sizes == [128, 1]


async def test_while_spans_are_made_the_loop_waits_for_its_turn_no_longer_than_it_must():
    before = sys.getswitchinterval()
    observer = SpanObserver(InMemorySpanExporter(), "here", Recorder())
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    await observer.aclose()
    assert sys.getswitchinterval() == before


async def test_what_a_collector_says_beside_its_status_is_not_read():
    with running_collector() as collector:
        collector.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n and so on"
        settings = TraceSettings(endpoint=collector.url, headers="x-key=a=b,x-other=c d")
        recorder = Recorder()
        observer = SpanObserver(make_exporter(settings), "here", recorder)
        observer.observe(REQUEST)
        await observer.aclose()
        await asyncio.sleep(0)
    assert recorder.facts == []
    assert [span.name for span in collector.spans] == ["embed", "authorise", "lookup"]
    (head,) = collector.heads
    assert (head["x-key"], head["x-other"], head[":path"]) == ("a=b", "c d", "/v1/traces")
