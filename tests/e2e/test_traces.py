"""The real server and a collector: what is sent, what is not, and what happens while the collector is away."""

import json
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.support.collector import Collector, attributes_of, running_collector
from tests.support.server import Reply, RunningServer, running_server, wait_until

from headrace.api.grpc.generated import headrace_pb2 as pb

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
KEY, COLLECTOR_KEY, TEXT = (f"canary-{secrets.token_hex(12)}" for _ in range(3))
RAN = ("authorise", "embed", "finish", "limit", "lookup", "prepare", "queue", "run", "tokenize")
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def settings(collector: Collector, **more: str) -> dict[str, str]:
    return {
        "HEADRACE_TRACES__ENDPOINT": collector.url,
        "HEADRACE_TRACES__HEADERS": f"x-collector-key={COLLECTOR_KEY},x-other=1",
        "HEADRACE_AUTH__KEYS": KEY,
        **more,
    }


def metric(server: RunningServer, name: str) -> float:
    """Return the sum of the series of a metric."""
    page = server.request("GET", "/metrics", headers=BEARER).body.decode()
    return sum(
        float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))
    )


def embed(server: RunningServer, text: str = TEXT, **headers: str) -> Reply:
    return server.embed({"inputs": [text]}, headers={**BEARER, **headers})


def of_trace(spans: list[Span], trace_id: str = TRACE_ID) -> list[str]:
    return sorted(span.name for span in spans if span.trace_id.hex() == trace_id)


def test_what_is_asked_is_told_to_a_collector_and_nothing_secret_with_it(home: Path, collector: Collector):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_server(home, "tiny", **settings(collector, HEADRACE_SERVER__GRPC_PORT=str(port))) as server:
        reply = embed(server, traceparent=PARENT, tracestate="x=1")
        # At once: the next request that takes about as long is the example then.
        page = server.request("GET", "/metrics", headers={**BEARER, "accept": "application/openmetrics-text"})
        embed(server, f"{TEXT} again", **{"x-request-id": "canary-id"})
        server.embed({"inputs": [TEXT], "model": TEXT})
        server.request("GET", f"/canary-path?text={TEXT}", headers=BEARER)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/headrace.v1.Inference/Embed")
            metadata = [("authorization", f"Bearer {KEY}"), ("traceparent", PARENT)]
            call(pb.EmbedRequest(inputs=[f"{TEXT} once more"]).SerializeToString(), metadata=metadata, timeout=20)
        server.stop()
        log = server.log.read_text()
    assert reply.status == 200
    assert of_trace(collector.spans) == sorted([*RAN, *RAN, "POST /api/v1/embed", "headrace.v1.Inference/Embed"])
    (door,) = [span for span in collector.spans if span.parent_span_id.hex() == PARENT_ID and "POST" in span.name]
    assert reply.headers["traceparent"] == f"00-{TRACE_ID}-{door.span_id.hex()}-01"
    assert (door.trace_state, attributes_of(door)["http.route"]) == ("x=1", "/api/v1/embed")
    assert {head["x-collector-key"] for head in collector.heads} == {COLLECTOR_KEY}
    assert {head[":path"] for head in collector.heads} == {"/v1/traces"}
    assert any(json.loads(line).get("trace_id") == TRACE_ID for line in log.splitlines())
    assert page.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert f'# {{trace_id="{TRACE_ID}"}}'.encode() in page.body
    exported = b"".join(collector.bodies)
    assert b"canary" not in exported
    assert len(exported) > 1000
    assert not [secret for secret in (KEY, COLLECTOR_KEY, TEXT) if secret in log]


def test_a_collector_that_is_away_or_says_nonsense_costs_no_request(home: Path, collector: Collector):
    with running_server(home, "tiny", **settings(collector)) as server:
        collector.answer = b"\x00\xff nonsense \r\n\r\n" * 1000
        assert embed(server, "nonsense").status == 200
        wait_until(lambda: metric(server, "headrace_lost_spans_total") > 0)
        lost = metric(server, "headrace_lost_spans_total")
        collector.answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
        assert {embed(server, str(each)).status for each in range(20)} == {200}
        assert server.stop() == 0
    assert lost == len(RAN) + 1
    assert "Traceback" not in server.log.read_text()


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_stop(home: Path, collector: Collector):
    collector.let_go.clear()
    with running_server(home, "tiny", **settings(collector)) as server:
        assert {embed(server, str(each)).status for each in range(20)} == {200}
        wait_until(lambda: collector.bodies)
        began = time.monotonic()
        assert {embed(server, str(each)).status for each in range(20)} == {200}
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 15  # 3 s for the traces, and what a stop takes


def test_spans_go_on_when_a_collector_is_back(home: Path, stack: ExitStack):
    with running_collector() as first:
        port, started = int(first.url.rpartition(":")[2]), running_server(home, "tiny", **settings(first))
        server = stack.enter_context(started)
        embed(server, traceparent=PARENT)
        wait_until(lambda: first.spans)
    assert embed(server, "while it is away").status == 200
    wait_until(lambda: metric(server, "headrace_lost_spans_total") > 0)
    with running_collector(port) as second:
        embed(server, "after", traceparent=PARENT)
        assert server.stop() == 0
        assert of_trace(first.spans) == of_trace(second.spans) == sorted([*RAN, "POST /api/v1/embed"])


def test_without_a_collector_no_trace_is_told(home: Path):
    with running_server(home, "tiny") as server:
        reply = server.embed({"inputs": ["a"]}, headers={"traceparent": PARENT})
        server.stop()
        assert "traceparent" not in reply.headers
        assert "trace_id" not in server.log.read_text()
