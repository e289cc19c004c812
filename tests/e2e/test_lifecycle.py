"""Starting and stopping, as an operator sees it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.models import add_model
from tests.support.server import RunningServer, parse_reply, receive_all, receive_one, running_server, wait_until

from headrace.models.store import LocalStore

CONNECTIONS = 32
BODY = json.dumps({"inputs": ["w1 w2 w3", "w4", "w5 w6"]})


class Client(threading.Thread):
    """Asks on one connection, again and again, until the server takes no more connections."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self.server = server
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            while self._ask(connection):
                self.answered += 1
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        is_fresh = connection.sock is None
        try:
            connection.request("POST", "/api/v1/embed", BODY, {"content-type": "application/json"})
            response = connection.getresponse()
            results = json.loads(response.read())["results"]
        except OSError as error:
            if not is_fresh:  # a fresh one is refused, or reset before the server has accepted it
                self.failures.append(repr(error))
            return False
        if response.status != 200 or len(results) != 3:
            self.failures.append(f"{response.status}: {results}")
        return True


def run_headrace(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        env={**environment, "HEADRACE_STORE__HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=home,
    )


def assert_one_line(result: subprocess.CompletedProcess[str], exit_code: int, code: str) -> None:
    assert result.returncode == exit_code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(f"headrace: {code}: ")


def test_a_stop_under_load_fails_no_accepted_request(home: Path):
    with running_server(home, "tiny", HEADRACE_CACHE__MAX_BYTES="0") as server:
        clients = [Client(server) for _ in range(CONNECTIONS)]
        for client in clients:
            client.start()
        wait_until(lambda: all(client.answered >= 5 for client in clients))
        assert server.stop() == 0
        for client in clients:
            client.join(20)
        log = server.log.read_text()
    assert [client.failures for client in clients] == [[]] * CONNECTIONS
    answered = sum(client.answered for client in clients)
    assert answered == log.count('"path":"/api/v1/embed","status":200')
    assert '"event":"server.stopped"' in log


def test_an_idle_connection_does_not_hold_up_a_stop(home: Path):
    with running_server(home, "tiny", HEADRACE_SERVER__LINGER_S="0.1") as server, server.connect():
        assert server.stop() == 0


def test_a_request_that_is_running_is_answered_after_the_signal(home: Path):
    with running_server(home, "tiny") as server, server.connect() as connection:
        connection.sendall(
            f"POST /api/v1/embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(BODY)}\r\n\r\n".encode()
        )
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not can_connect(server.port))
        connection.sendall(BODY.encode())
        reply = parse_reply(receive_all(connection))
        assert reply.status == 200
        assert reply.headers["connection"] == "close"
        assert server.process.wait(20) == 0


def test_a_request_that_outlasts_the_drain_limit_gets_a_503(home: Path):
    with (
        running_server(home, "tiny", HEADRACE_SERVER__DRAIN_TIMEOUT_S="1", HEADRACE_SERVER__LINGER_S="0") as server,
        server.connect() as connection,
    ):
        connection.sendall(
            b"POST /api/v1/embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n"
        )
        wait_until(lambda: server.request("GET", "/livez").status == 200)
        server.process.send_signal(signal.SIGTERM)
        reply = parse_reply(receive_all(connection))
        assert (reply.status, reply.json()["code"]) == (503, "service.stopping")
        assert server.process.wait(20) == 0


def test_ctrl_c_stops_as_cleanly_as_sigterm(home: Path):
    with running_server(home, "tiny") as server:
        assert server.stop(signal.SIGINT) == 0


def test_the_second_ctrl_c_kills(home: Path):
    with running_server(home, "tiny", HEADRACE_SERVER__LINGER_S="30") as server, server.connect():
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "server.stopping" in server.log.read_text())
        assert server.stop(signal.SIGINT) == -signal.SIGINT


def test_readiness_ends_before_the_server_does(home: Path):
    with running_server(home, "tiny", HEADRACE_SERVER__LINGER_S="5") as server, server.connect() as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert receive_one(connection).status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not can_connect(server.port))
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        reply = receive_one(connection)
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_port_in_use_is_one_line(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_headrace("serve", "tiny", "--port", port, home=home)
    assert_one_line(result, 1, "port.taken")
    assert port in result.stderr


def test_a_missing_model_is_one_line(home: Path):
    result = run_headrace("serve", "nobody", "--port", "0", home=home)
    assert_one_line(result, 1, "model.unknown")


def test_an_empty_store_names_the_command_that_fills_it(tmp_path: Path):
    result = run_headrace("serve", "--port", "0", home=tmp_path)
    assert result.returncode == 1
    assert "headrace import" in result.stderr


def test_a_corrupt_model_is_one_line_that_names_the_file(home: Path, tmp_path: Path):
    shutil.copytree(home / "models", tmp_path / "models")
    graph = next((tmp_path / "models/tiny").glob("*/model.onnx"))
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    result = run_headrace("serve", "tiny", "--port", "0", home=tmp_path)
    assert_one_line(result, 1, "model.corrupt")
    assert "model.onnx" in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - the point is that it is refused
def test_a_public_address_without_keys_is_refused(home: Path, host: str):
    result = run_headrace("serve", "tiny", "--port", "0", "--host", host, home=home)
    assert_one_line(result, 2, "bind.refused")
    assert "HEADRACE_AUTH__KEYS" in result.stderr


def test_an_unknown_variable_is_refused_with_the_nearest_name(home: Path):
    result = run_headrace("serve", "tiny", home=home, HEADRACE_SERVER__PROT="1")
    assert_one_line(result, 2, "setting.unknown")
    assert "HEADRACE_SERVER__PORT" in result.stderr


KEY = "a-key-for-the-test-0123456789"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("guarded")
    add_model(LocalStore(home / "models"), "tiny")
    with running_server(home, "tiny", HEADRACE_AUTH__KEYS=KEY) as server:
        yield server


@pytest.mark.parametrize("path", ["/api/v1/models", "/metrics", "/openapi.json"])
def test_with_keys_every_route_that_tells_anything_asks_for_one(guarded: RunningServer, path: str):
    refused = guarded.request("GET", path)
    assert (refused.status, refused.json()["code"]) == (401, "caller.unknown")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert guarded.request("GET", path, headers={"authorization": "Bearer wrong-key-wrong-key"}).status == 401
    assert guarded.request("GET", path, headers={"authorization": f"Bearer {KEY}"}).status == 200
    assert guarded.request("GET", path, headers={"x-api-key": KEY}).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/docs/start.js", "/docs/swagger-ui.css"])
def test_the_probes_and_the_docs_page_need_no_key(guarded: RunningServer, path: str):
    assert guarded.request("GET", path).status == 200


def test_without_a_key_the_body_is_not_read(guarded: RunningServer):
    with guarded.connect() as connection:
        connection.sendall(b"POST /api/v1/embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
        assert parse_reply(receive_all(connection)).status == 401


def test_with_keys_any_well_formed_host_is_answered(guarded: RunningServer):
    headers = {"host": "api.example.com", "x-api-key": KEY}
    assert guarded.request("GET", "/api/v1/models", headers=headers).status == 200


def test_a_key_is_never_logged(guarded: RunningServer):
    guarded.request("GET", "/api/v1/models", headers={"x-api-key": KEY, "x-request-id": "with-the-key"})
    wait_until(lambda: "with-the-key" in guarded.log.read_text())
    assert KEY not in guarded.log.read_text()
