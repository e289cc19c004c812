"""The engine's process dies, and clients of the real server do not notice."""

import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.supervised import is_there

CLIENTS = 16
KILLS = 5


def engine_pid(server: RunningServer) -> int | None:
    """Return the process id of the engine; nothing while there is none."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for pid in map(int, children):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it is gone already
        if b"headrace.engine_process" in command:
            return pid
    return None


class Client(threading.Thread):
    """Asks for texts of its own, again and again, and keeps every answer that is not what the first one was."""

    def __init__(self, server: RunningServer, number: int) -> None:
        super().__init__()
        self.server = server
        self.body = json.dumps({"inputs": [f"w{number}", f"w{number} w{number + 1}", "w60"]})
        self.answered = 0
        self.wrong: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        first = None
        while not self.is_over.is_set():
            connection.request("POST", "/api/v1/embed", self.body, {"content-type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
            vectors = [result["embedding"] for result in content.get("results", [])]
            first = first or vectors
            if response.status != 200 or not np.allclose(vectors, first, atol=1e-6):
                self.wrong.append(f"{response.status}: {content}")
            self.answered += 1
        connection.close()


def test_an_engine_killed_under_load_costs_no_answer(home: Path):
    with running_server(home, "tiny", HEADRACE_CACHE__MAX_BYTES="0") as server:
        clients = [Client(server, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        killed: list[int] = []
        for _ in range(KILLS):
            before = [client.answered for client in clients]
            wait_until(lambda before=before: all(c.answered > n + 2 for c, n in zip(clients, before, strict=True)))
            wait_until(lambda: engine_pid(server) not in {None, *killed})
            pid = engine_pid(server)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        wait_until(lambda: server.log.read_text().count('"event":"engine.restarted"') == KILLS)
        for client in clients:
            client.is_over.set()
        for client in clients:
            client.join(60)
        metrics = server.request("GET", "/metrics").body.decode()
        assert server.request("GET", "/readyz").status == 200
        assert server.stop() == 0
    assert [client.wrong for client in clients] == [[]] * CLIENTS
    assert f'headrace_engine_restarts_total{{model="tiny",reason="SIGKILL"}} {KILLS}.0' in metrics


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_engine_ends_with_the_server(home: Path, number: int):
    with running_server(home, "tiny") as server:
        pid = engine_pid(server)
        assert pid is not None
        server.stop(number)
        wait_until(lambda: not is_there(pid))


def test_the_engine_listens_nowhere_and_the_server_where_it_says(home: Path):
    with running_server(home, "tiny") as server:
        pid = engine_pid(server)
        assert pid is not None
        assert listening_inodes() & socket_inodes(pid) == set()
        assert len(listening_inodes() & socket_inodes(server.process.pid)) == 1


def listening_inodes() -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # listening
                found.add(fields[9])
    return found


def socket_inodes(pid: int) -> set[str]:
    targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return {target[8:-1] for target in targets if target.startswith("socket:[")}


def test_an_engine_that_is_down_for_long_is_not_ready_and_refuses_with_a_time_to_come_back(home: Path, tmp_path: Path):
    model = next((home / "models/tiny").glob("*/manifest.json")).parent
    own = tmp_path / "models/tiny" / model.name
    own.mkdir(parents=True)
    for file in model.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    with running_server(tmp_path, "tiny", HEADRACE_CACHE__MAX_BYTES="0") as server:
        hidden = own.rename(tmp_path / "hidden")
        pid = engine_pid(server)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server.request("GET", "/readyz").status == 503, 60)
        wait_until(lambda: server.embed({"inputs": ["w1"]}).status == 503, 60)
        refused = server.embed({"inputs": ["w1"]})
        assert (refused.status, refused.json()["code"]) == (503, "engine.unavailable")
        assert refused.headers["retry-after"] == "1"
        assert server.request("GET", "/livez").status == 200
        hidden.rename(own)
        wait_until(lambda: server.request("GET", "/readyz").status == 200, 60)
        assert server.embed({"inputs": ["w1"]}).status == 200


def test_without_isolation_there_is_no_other_process(home: Path):
    with running_server(home, "tiny", HEADRACE_ENGINE__ISOLATION="none") as server:
        assert engine_pid(server) is None
        assert server.embed({"inputs": ["w1"]}).status == 200


def test_an_idle_engine_uses_next_to_no_time(home: Path):
    with running_server(home, "tiny") as server:
        assert server.embed({"inputs": ["w1"]}).status == 200
        pid = engine_pid(server)
        assert pid is not None
        time.sleep(0.5)
        before = wakeups(pid)
        time.sleep(2)
        assert wakeups(pid) - before <= 10


def wakeups(pid: int) -> int:
    """Return how often the process has given up the processor by itself."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("voluntary"))
    return int(line.split()[1])
