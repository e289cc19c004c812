"""A collector of OpenTelemetry: takes spans over HTTP, and does what a test wants it to answer."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What a collector was sent.

    Attributes:
        answer: All that it sends back.
        let_go: Cleared, it says nothing until it is set.
    """

    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    let_go: threading.Event = field(default_factory=threading.Event)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def take(self, head: dict[str, str], body: bytes) -> bytes:
        """Keep what came, and return what is answered."""
        self.heads.append(head)
        self.bodies.append(gzip.decompress(body) if head.get("content-encoding") == "gzip" else body)
        self.let_go.wait(20)
        return self.answer


@contextlib.contextmanager
def running_collector(port: int = 0) -> Iterator[Collector]:
    """Run a collector on this machine."""
    collector = Collector()
    collector.let_go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            head = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(head["content-length"]))
            with contextlib.suppress(OSError):  # whoever asked may have left
                self.wfile.write(collector.take({**head, ":path": self.path}, body))
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server calls it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()


def attributes_of(span: Span) -> dict[str, Any]:
    """Return the attributes of a span."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}
