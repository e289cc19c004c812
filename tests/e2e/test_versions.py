"""Versions are switched at a real server, by REST and by the store, while clients ask it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.models import add_model
from tests.support.server import RunningServer, running_server, wait_until

from headrace.models.store import LocalStore, StoredModel

SEEDS = range(4)
TEXT = "w1 w2 w3"


class Clients:
    """Ask the same thing again and again, and note what they get by the revision that answered."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        self.answers: dict[str, set[tuple[float, ...]]] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._is_over.is_set():
            reply = self._server.embed({"inputs": [TEXT]})
            if reply.status != 200:
                self.failures.append(f"{reply.status}: {reply.body[:200]!r}")
                continue
            answer = reply.json()
            vector = tuple(round(number, 5) for number in answer["results"][0]["embedding"])
            self.answers.setdefault(answer["revision"], set()).add(vector)


@pytest.fixture
def versions(tmp_path: Path) -> list[StoredModel]:
    store = LocalStore(tmp_path / "models")
    return [add_model(store, "tiny", seed) for seed in SEEDS]


@pytest.fixture
def server(tmp_path: Path, versions: list[StoredModel]) -> Iterator[RunningServer]:
    LocalStore(tmp_path / "models").promote("tiny", versions[0].revision)
    with running_server(tmp_path, "tiny", HEADRACE_STORE__FOLLOW_S="0.1") as running:
        yield running


def call(server: RunningServer, method: str, path: str, content: Any = None) -> tuple[int, Any]:
    body = b"" if content is None else json.dumps(content).encode()
    reply = server.request(method, f"/api/v1/models/tiny{path}", body, {"content-type": "application/json"})
    return reply.status, reply.json()


def served(server: RunningServer) -> str:
    status, model = call(server, "GET", "")
    assert status == 200
    return str(model["revision"])


def headrace(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "headrace", "models", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=home).stdout


def test_versions_are_switched_by_rest_under_load(server: RunningServer, versions: list[StoredModel]):
    (versions[3].path / "model.onnx").write_bytes(b"no graph")
    with Clients(server) as clients:
        for turn in range(2):
            for version in versions[1:3]:
                status, roles = call(server, "POST", "/promote", {"revision": version.revision[:16]})
                assert (status, roles["champion"]) == (200, version.revision)
                assert served(server) == version.revision
            status, problem = call(server, "POST", "/promote", {"revision": versions[3].revision})
            assert (status, problem["code"], problem["field"]) == (409, "version.unfit", "revision")
            status, roles = call(server, "POST", "/rollback")
            assert (status, roles["champion"], roles["previous"]) == (200, versions[1].revision, versions[2].revision)
            assert turn == 0 or served(server) == versions[1].revision
    assert clients.failures == []
    assert set(clients.answers) == {version.revision for version in versions[:3]}
    assert all(len(vectors) == 1 for vectors in clients.answers.values())
    assert len({next(iter(vectors)) for vectors in clients.answers.values()}) == 3


def test_a_server_follows_the_store_and_starts_again_as_it_says(
    server: RunningServer, versions: list[StoredModel], tmp_path: Path
):
    with Clients(server) as clients:
        out = headrace(tmp_path, "promote", "tiny", "--revision", versions[1].revision[:12])
        assert versions[1].revision[:12] in out
        wait_until(lambda: served(server) == versions[1].revision)
        headrace(tmp_path, "canary", "tiny", "--revision", versions[2].revision, "--share", "0.5")
        wait_until(lambda: len(server.request("GET", "/api/v1/models").json()["models"]) == 2)
        wait_until(lambda: versions[2].revision in clients.answers)
        listed = json.loads(headrace(tmp_path, "list", "--json"))
        assert {each["revision"]: each["role"] for each in listed if each["role"]} == {
            versions[1].revision: "champion",
            versions[2].revision: "canary 50 %",
        }
        headrace(tmp_path, "retire", "tiny")
        wait_until(lambda: len(server.request("GET", "/api/v1/models").json()["models"]) == 1)
    assert clients.failures == []
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    headrace(tmp_path, "rollback", "tiny")
    with running_server(tmp_path, "tiny") as again:
        assert served(again) == versions[0].revision


def test_a_broken_version_that_the_store_wants_leaves_the_one_that_answers(
    server: RunningServer, versions: list[StoredModel], tmp_path: Path
):
    headrace(tmp_path, "promote", "tiny", "--revision", versions[1].revision)
    wait_until(lambda: served(server) == versions[1].revision)
    store = LocalStore(tmp_path / "models")
    store.promote("tiny", versions[2].revision)
    (versions[2].path / "model.onnx").write_bytes(b"no graph")  # too late to be seen by the command
    wait_until(lambda: "version.refused" in server.log.read_text() or served(server) == versions[2].revision)
    store.promote("tiny", versions[0].revision)
    wait_until(lambda: served(server) == versions[0].revision)
    assert server.embed({"inputs": [TEXT]}).status == 200


def test_a_version_is_tried_out_by_rest(server: RunningServer, versions: list[StoredModel]):
    assert call(server, "GET", "/roles")[1] == {
        "model": "tiny",
        "champion": versions[0].revision,
        "previous": versions[3].revision,
        "candidate": None,
    }
    status, roles = call(server, "PUT", "/candidate", {"revision": versions[1].revision[:10], "share": 1})
    assert (status, roles["candidate"]) == (200, {"revision": versions[1].revision, "kind": "canary", "share": 1.0})
    assert server.embed({"inputs": [TEXT]}, headers={"x-routing-key": "user-1"}).json()["revision"] == (
        versions[1].revision
    )
    named = {"inputs": [TEXT], "model": "tiny@champion"}
    assert server.embed(named).json()["revision"] == versions[0].revision
    shown = [(each["role"], each["share"]) for each in server.request("GET", "/api/v1/models").json()["models"]]
    assert shown == [("champion", None), ("canary", 1.0)]
    assert call(server, "DELETE", "/candidate")[1]["candidate"] is None
    assert b'headrace_version_switches_total{model="tiny",role="canary"} 1.0' in server.request("GET", "/metrics").body


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("POST", "/promote", {"revision": "0" * 64}, (404, "revision")),
        ("POST", "/promote", {"revision": "0" * 65}, (422, "revision")),
        ("POST", "/promote", {"revision": ""}, (422, "revision")),
        ("POST", "/promote", {}, (422, "revision")),
        ("POST", "/promote", [], (422, None)),
        ("PUT", "/candidate", {"revision": "1", "share": 0}, (422, "share")),
        ("PUT", "/candidate", {"revision": "1", "share": 1.5}, (422, "share")),
        ("PUT", "/candidate", {"revision": "1", "kind": "king"}, (422, "kind")),
        ("PUT", "/candidate", {"revision": "../..", "share": 0.5}, (404, "revision")),
        ("GET", "@nobody", None, (404, "model")),
        ("POST", "/roles", None, (405, None)),
    ],
)
def test_bad_requests_are_refused_by_name(
    module_server: RunningServer, method: str, path: str, content: Any, expected: tuple[int, str | None]
):
    status, problem = call(module_server, method, path, content)
    assert (status, problem.get("field")) == expected


def test_a_routing_key_has_an_end(module_server: RunningServer):
    refused = module_server.embed({"inputs": [TEXT]}, headers={"x-routing-key": "x" * 257})
    assert (refused.status, refused.json()["field"]) == (422, "x-routing-key")
    unknown = module_server.request("GET", "/api/v1/models/other/roles")
    assert unknown.status == 404


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("home")
    add_model(LocalStore(home / "models"), "tiny", 0)
    with running_server(home, "tiny") as running:
        yield running


def test_a_shadow_stands_aside_and_is_compared(server: RunningServer, versions: list[StoredModel]):
    before = set(children(server.process.pid))
    body = {"revision": versions[1].revision, "kind": "shadow", "share": 1}
    assert call(server, "PUT", "/candidate", body)[0] == 200
    (shadow,) = set(children(server.process.pid)) - before
    policies = {os.sched_getscheduler(int(thread.name)) for thread in Path(f"/proc/{shadow}/task").iterdir()}
    assert policies == {os.SCHED_IDLE}
    answer = server.embed({"inputs": [f"w{number}" for number in range(5)]}).json()
    assert answer["revision"] == versions[0].revision
    # Where other tests keep the processors busy, it gets next to nothing of them.
    wait_until(lambda: b'headrace_shadow_agreement_ratio_count{model="tiny"} 5.0' in metrics(server), limit_s=120)
    assert b'headrace_shadow_texts_total{model="tiny",outcome="compared"} 5.0' in metrics(server)
    refused = server.embed({"inputs": ["w1"], "model": "tiny@canary"})
    assert refused.status == 404
    assert call(server, "DELETE", "/candidate")[0] == 200
    wait_until(lambda: set(children(server.process.pid)) == before)


def metrics(server: RunningServer) -> bytes:
    return server.request("GET", "/metrics").body


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
