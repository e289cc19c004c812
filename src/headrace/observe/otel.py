"""Spans for OpenTelemetry, made of facts and sent to a collector with OTLP over HTTP.

Whoever answers requests only puts facts in a queue. A thread of its own makes spans of them and sends them, so that a
collector that is slow, away or refuses costs nobody time: what does not fit into the queue, or could not be sent, is
counted and gone. In a span is nothing that a caller wrote but the ids and the ``tracestate`` of its trace.
"""

import asyncio
import contextlib
import logging
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from headrace.observe.base import (
    METHODS,
    CallEnded,
    Fact,
    Observer,
    RequestFinished,
    ResponseSent,
    SpansLost,
    is_probe,
)
from headrace.observe.traces import Trace
from headrace.settings import TraceSettings
from headrace.version import VERSION

# Facts that wait: some 2 KB each, as RequestFinished with its steps is; so 8 MB at most.
MAX_QUEUED: Final = 4096
# Made into spans and sent in one go: a thousand spans, 0.3 MB.
_BATCH: Final = 128
_PERIOD_S: Final = 2.0
_PAUSE_S: Final = 10.0  # after a failure, of which each has a line in the log
# For one batch, all tries together. What a collector cannot take in this time it takes too slowly.
_EXPORT_LIMIT_S: Final = 5.0
_STOP_LIMIT_S: Final = 3.0
# How long Python lets a thread go on before another one gets its turn. While spans were made and sent without a break,
# the loop woke up 8.6 ms late one time in ten at Python's own 5 ms, and 1.3 ms late at this.
_TURN_S: Final = 0.0005
_NS: Final = 1_000_000_000

_SCOPE: Final = InstrumentationScope("headrace", VERSION)
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
_FAILED: Final = Status(StatusCode.ERROR)
_FINE: Final = Status(StatusCode.UNSET)
# Those that are the server's fault, by the semantic conventions for gRPC.
_SERVER_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

_OTHER: Final = "_OTHER"  # a method that a caller made up, by the semantic conventions

_Attributes = Mapping[str, str | int]
_Traced = RequestFinished | ResponseSent | CallEnded


def make_exporter(settings: TraceSettings) -> SpanExporter:
    """Return what sends spans to the collector of the settings."""
    session = requests.Session()
    session.stream = True  # what a collector says beside its status is not read: it could go on for ever
    headers = settings.headers.get_secret_value() if settings.headers else ""
    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=dict(_split(part) for part in headers.split(",") if part),
        timeout=_EXPORT_LIMIT_S,
        compression=Compression.Gzip,
        session=session,
    )


def _split(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name, value


class SpanObserver:
    """Makes spans of facts, and hands them to an exporter.

    Args:
        exporter: Sends spans; may take long, and may fail.
        service: What this server is called among others.
        observer: Hears of spans that were lost, on the loop that this was made on.
    """

    def __init__(self, exporter: SpanExporter, service: str, observer: Observer) -> None:
        self._exporter = exporter
        self._resource = Resource.create({"service.name": service, "service.version": VERSION})
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[int, _Traced]] = deque()
        self._refused = self._refused_told = 0
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._has_given_up = False
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        # It says why spans could not be sent; at level warning it would say so of each try.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        self._turn_before_s = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_S)
        self._thread.start()

    def observe(self, fact: Fact) -> None:
        """Queue a fact, if it belongs to a trace of which spans are kept."""
        match fact:
            case RequestFinished(trace=Trace(is_sampled=True)):
                self._put(fact)
            case ResponseSent(trace=Trace(is_sampled=True)) | CallEnded(trace=Trace(is_sampled=True)):
                if not is_probe(fact):
                    self._put(replace(fact, path="") if isinstance(fact, ResponseSent) else fact)

    def _put(self, fact: _Traced) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._refused += _count_spans(fact)
            return
        self._queue.append((time.time_ns(), fact))
        if len(self._queue) == _BATCH:
            self._wake.set()

    async def aclose(self) -> None:
        """Send what is queued, for as long as that takes but not longer than a few seconds."""
        self._stopping.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _STOP_LIMIT_S)
        sys.setswitchinterval(self._turn_before_s)
        self._has_given_up = True  # the thread ends when it looks up; as a daemon it holds nobody
        await asyncio.to_thread(self._exporter.shutdown)

    def _work(self) -> None:
        while True:
            self._wake.wait(_PERIOD_S)
            self._wake.clear()
            is_last = self._stopping.is_set()
            is_sent = self._send_queued()
            if is_last:
                return
            if not is_sent:
                self._stopping.wait(_PAUSE_S)

    def _send_queued(self) -> bool:
        """Send batch by batch until nothing is queued, or one could not be sent; tell which of both."""
        is_sent = True
        while is_sent and self._queue and not self._has_given_up:
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            is_sent = self._send(batch)
            if not is_sent:
                self._lose("export_failed", sum(_count_spans(fact) for _, fact in batch))
        if refused := self._refused - self._refused_told:
            self._refused_told += refused
            self._lose("queue_full", refused)
        return is_sent

    def _send(self, batch: Sequence[tuple[int, _Traced]]) -> bool:
        try:
            spans = [span for ended_ns, fact in batch for span in make_spans(fact, ended_ns, self._resource)]
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever an exporter does, the next batch is tried
            structlog.get_logger().error("spans.unsent", exc_info=error)
            return False

    def _lose(self, reason: str, count: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks for metrics any more
            self._loop.call_soon_threadsafe(self._observer.observe, SpansLost(reason=reason, count=count))


def _count_spans(fact: _Traced) -> int:
    return 1 + len(fact.steps) if isinstance(fact, RequestFinished) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What a span is about."""

    name: str
    start_ns: int
    end_ns: int
    kind: SpanKind = SpanKind.INTERNAL
    attributes: _Attributes = field(default_factory=dict)
    is_failure: bool = False


def make_spans(fact: RequestFinished | ResponseSent | CallEnded, end_ns: int, resource: Resource) -> list[ReadableSpan]:
    """Return the spans of a fact, those of its steps after its own.

    They are made when all has ended, and not by a tracer of the SDK: that would draw the ids, while that of a request
    was told to its caller when it began.

    Args:
        fact: It has a trace.
        end_ns: When it was stated, in Unix time.
        resource: Who tells.
    """
    if fact.trace is None:
        return []
    maker = _Maker(fact.trace, resource)
    if not isinstance(fact, RequestFinished):
        return [maker.make(_describe_door(fact, end_ns), maker.door, maker.caller)]
    request, *steps = _describe_request(fact, end_ns)
    own = maker.draw()
    return [maker.make(request, own, maker.door), *(maker.make(step, maker.draw(), own) for step in steps)]


class _Maker:
    """Makes the spans of one trace."""

    def __init__(self, trace: Trace, resource: Resource) -> None:
        self._trace_id = int(trace.trace_id, 16)
        self._state = TraceState.from_header([trace.state]) if trace.state else None
        self._resource = resource
        self.door = self._refer(int(trace.span_id, 16))
        self.caller = self._refer(int(trace.parent_id, 16), is_remote=True) if trace.parent_id else None

    def draw(self) -> SpanContext:
        """Return what refers to a span that nobody was told of yet."""
        return self._refer(random.getrandbits(64) or 1)

    def _refer(self, span_id: int, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(self._trace_id, span_id, is_remote, _FLAGS, self._state)

    def make(self, part: _Part, own: SpanContext, parent: SpanContext | None) -> ReadableSpan:
        """Return a span."""
        return ReadableSpan(
            part.name,
            context=own,
            parent=parent,
            resource=self._resource,
            attributes=part.attributes,
            kind=part.kind,
            status=_FAILED if part.is_failure else _FINE,
            start_time=part.start_ns,
            end_time=part.end_ns,
            instrumentation_scope=_SCOPE,
        )


def _describe_door(fact: ResponseSent | CallEnded, end_ns: int) -> _Part:
    name, attributes, is_failure = _describe_http(fact) if isinstance(fact, ResponseSent) else _describe_rpc(fact)
    return _Part(
        name=name,
        start_ns=end_ns - round(fact.duration_s * _NS),
        end_ns=end_ns,
        kind=SpanKind.SERVER,
        attributes=attributes,
        is_failure=is_failure,
    )


def _describe_http(fact: ResponseSent) -> tuple[str, _Attributes, bool]:
    method = fact.method if fact.method in METHODS else _OTHER
    attributes: dict[str, str | int] = {"http.request.method": method, "url.scheme": "http"}
    if fact.route:
        attributes["http.route"] = fact.route
    if fact.status:
        attributes["http.response.status_code"] = fact.status
    is_failure = fact.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_failure:
        attributes["error.type"] = str(fact.status)
    return f"{'HTTP' if method == _OTHER else method} {fact.route}".rstrip(), attributes, is_failure


def _describe_rpc(fact: CallEnded) -> tuple[str, _Attributes, bool]:
    attributes = {"rpc.system.name": "grpc", "rpc.method": fact.method, "rpc.response.status_code": fact.status}
    is_failure = fact.status in _SERVER_FAULTS
    return fact.method, {**attributes, "error.type": fact.status} if is_failure else attributes, is_failure


def _describe_request(fact: RequestFinished, end_ns: int) -> Iterator[_Part]:
    """Yield a request to the service, then its steps."""
    last = fact.steps[-1]
    start_ns = end_ns - round((last.start_s + last.duration_s) * _NS)
    has_failed = fact.outcome != "ok"
    yield _Part(
        name=fact.task,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes={
            "headrace.task": fact.task,
            "headrace.model": fact.model,
            "headrace.revision": fact.revision,
            "headrace.inputs": fact.inputs,
            "headrace.cached": fact.cached,
            "headrace.tokens": fact.tokens,
            "headrace.outcome": fact.outcome,
            **({"error.type": fact.outcome} if has_failed else {}),
        },
        is_failure=has_failed,
    )
    for step in fact.steps:
        yield _Part(
            name=step.name,
            start_ns=start_ns + round(step.start_s * _NS),
            end_ns=start_ns + round((step.start_s + step.duration_s) * _NS),
            is_failure=has_failed and step is last,
        )
