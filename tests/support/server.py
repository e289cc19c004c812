"""The real server as a process, and raw HTTP over a socket."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_LIMIT_S = 60
STOP_LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class RunningServer:
    """A server process.

    Attributes:
        grpc: Where it answers calls, if it does.
    """

    process: subprocess.Popen[str]
    port: int
    log: Path
    grpc: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send_raw(self, data: bytes) -> bytes:
        """Send bytes and return everything that comes back until the server hangs up."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):  # the server may hang up before it has read everything
                connection.sendall(data)
            return receive_all(connection)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own, exactly as given."""
        given = {"host": f"127.0.0.1:{self.port}", "connection": "close", **(headers or {})}
        if body and "transfer-encoding" not in given:
            given.setdefault("content-length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return parse_reply(self.send_raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body))

    def embed(
        self, content: Any = None, *, raw: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST to the embed route."""
        body = json.dumps(content).encode() if raw is None else raw
        return self.request("POST", "/api/v1/embed", body, {"content-type": "application/json", **(headers or {})})

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)


@contextlib.contextmanager
def running_server(home: Path, *models: str, python: str = sys.executable, **variables: str) -> Iterator[RunningServer]:
    """Start ``headrace serve`` on a free port with the models of a home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    # What is under test is a server that serves, not how it finds out how: see test_tune.py.
    defaults = {"HEADRACE_SERVER__PORT": "0", "HEADRACE_ENGINE__TUNE": "false"}
    environment |= {"HEADRACE_STORE__HOME": str(home), **defaults, **variables}
    with tempfile.NamedTemporaryFile("w", suffix=".log", dir=home, delete=False) as log:
        process = subprocess.Popen(
            [python, "-m", "headrace", "serve", "--json", *models],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=home,
        )
    try:
        places = _read_places(process, Path(log.name))
        port = int(places["api"].split(":")[2].split("/")[0])
        yield RunningServer(process, port, Path(log.name), places.get("grpc", ""))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_places(process: subprocess.Popen[str], log: Path) -> Any:
    if process.stdout is None:
        raise ValueError("stdout must be a pipe")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the server did not start: {log.read_text()}")
    return json.loads(line)


def receive_all(connection: socket.socket) -> bytes:
    """Read until the other end hangs up."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            data += chunk
    return bytes(data)


def receive_one(connection: socket.socket) -> Reply:
    """Read one response with a content length, and leave the connection open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    reply = parse_reply(data)
    body = b""
    while len(body) < int(reply.headers["content-length"]):
        body += connection.recv(int(reply.headers["content-length"]) - len(body))
    return Reply(reply.status, reply.headers, body)


def parse_reply(data: bytes) -> Reply:
    """Parse a response that ends with the connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Reply(int(lines[0].split()[1]), headers, body)


def wait_until(condition: Any, limit_s: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)
