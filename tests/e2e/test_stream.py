"""A body that is read while its answers are written, over the real server."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

from tests.support.server import RunningServer, running_server, wait_until

HEAD = (
    b"POST /api/v1/stream HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def chunk(**fields: Any) -> bytes:
    data = json.dumps(fields).encode() + b"\n"
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def read_until(connection: socket.socket, word: bytes) -> bytes:
    data = b""
    while word not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


def test_answers_come_while_the_body_does(server: RunningServer):
    with server.connect() as connection:
        connection.sendall(HEAD)
        for number in range(3):
            connection.sendall(chunk(id=f"line-{number}", task="embed", inputs=["w1"]))
            assert b'"answer"' in read_until(connection, f'"line-{number}"'.encode() + b",")
        connection.sendall(b"0\r\n\r\n")
        read_until(connection, b"0\r\n\r\n")


def test_a_client_that_does_not_read_is_not_read_either(server: RunningServer):
    with server.connect() as connection:
        connection.sendall(HEAD)
        connection.settimeout(1)
        lines, sent = b"".join(chunk(id=str(number), task="embed", inputs=["w1"] * 16) for number in range(100)), 0
        try:
            while sent < 64 << 20:
                connection.sendall(lines)
                sent += len(lines)
        except TimeoutError:
            pass
        assert sent < 64 << 20
    wait_until(lambda: server.embed({"inputs": ["w1"]}).status == 200)


def test_a_client_that_leaves_costs_nobody_an_answer(server: RunningServer):
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(HEAD + b"".join(chunk(id=str(n), task="embed", inputs=[f"w{n}"]) for n in range(50)))
    assert server.embed({"inputs": ["w1 w2"]}).status == 200
    log = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    assert [line for line in log if line["level"] == "error"] == []


def test_a_stop_does_not_wait_for_a_silent_stream(home: Path):
    with running_server(home, "tiny", HEADRACE_SERVER__LINGER_S="0.2") as server, server.connect() as connection:
        connection.sendall(HEAD + chunk(id="1", task="embed", inputs=["w1"]))
        read_until(connection, b'"1"')

        server.process.send_signal(signal.SIGTERM)
        assert b"service.stopping" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(20) == 0
