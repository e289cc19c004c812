"""Others watch what happens: the real server, its engine, its keys, and its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.e2e.test_engine_process import engine_pid
from tests.support.models import add_model
from tests.support.redis_server import RedisServer, redis_server
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.sse import Follower, Told, ask, follow

from headrace.models.store import LocalStore

KEY = "the-key-of-the-settings"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    add_model(LocalStore(tmp_path / "models"), "tiny", seed=0)
    return tmp_path


def embed(server: RunningServer, key: str = KEY) -> int:
    return server.embed({"inputs": ["w1"]}, headers={"authorization": f"Bearer {key}"}).status


def until(follower: Follower, subject: str) -> Told:
    """Read until something of a subject is told."""
    while (told := follower.next()) is not None:
        if told.subject == subject:
            return told
    raise AssertionError(f"no {subject} came")


def make_key(home: Path, name: str, *arguments: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "keys", "create", name, *arguments, "--json"],
        env={**environment, "HEADRACE_STORE__HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_a_limit_that_is_hit_is_told_and_who_comes_back_goes_on(home: Path):
    limits = {"HEADRACE_LIMITS__REQUESTS_PER_S": "0.001", "HEADRACE_LIMITS__BURST": "1"}
    with running_server(home, "tiny", HEADRACE_AUTH__KEYS=KEY, **limits) as server:
        with follow(server.port, "?after=0", AUTHORIZED) as follower:
            loaded = until(follower, "model.loaded")
            assert loaded.data["model"] == "tiny"
            assert [embed(server) for _ in range(4)] == [200, 429, 429, 429]
            first, again = follower.take(2)
        assert [first.subject, again.subject] == ["limit.exceeded"] * 2
        assert (first.data["task"], first.data["count"], again.data["count"]) == ("embed", 1, 2)
        assert KEY not in "\n".join(follower.lines)
        with follow(server.port, headers={**AUTHORIZED, "last-event-id": first.id or ""}) as follower:
            assert follower.take(1) == [again]
        refused = server.request("GET", "/api/v1/events")
        assert (refused.status, refused.json()["code"]) == (401, "caller.unknown")
        wait_until(lambda: server.log.read_text().count('"event":"reader.left"') == 2)
        metrics = server.request("GET", "/metrics", headers=AUTHORIZED).body.decode()
    assert "headrace_event_readers 0.0" in metrics
    assert 'headrace_event_left_readers_total{reason="client.left"} 2.0' in metrics
    assert 'headrace_events_total{subject="limit.exceeded"} 2.0' in metrics
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    sent = [line for line in lines if line.get("path") == "/api/v1/events"]
    assert [(line["status"], line["event"]) for line in sent] == [
        (200, "response.sent"),
        (200, "response.sent"),
        (401, "response.sent"),
    ]


def test_an_engine_that_is_killed_is_told(home: Path):
    with running_server(home, "tiny") as server, follow(server.port, "?subject=engine.restarted") as follower:
        pid = engine_pid(server)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        told = until(follower, "engine.restarted")
    assert (told.data["model"], told.data["reason"]) == ("tiny", "SIGKILL")
    assert told.data["down_ms"] > 0


def test_a_version_that_is_switched_is_told(home: Path):
    store = LocalStore(home / "models")
    first = store.roles("tiny").champion
    second = add_model(store, "tiny", seed=1).manifest.revision
    assert first != second
    with running_server(home, "tiny") as server, follow(server.port) as follower:
        wanted = first if store.roles("tiny").champion == second else second
        body = json.dumps({"revision": wanted}).encode()
        headers = {"content-type": "application/json"}
        assert server.request("POST", "/api/v1/models/tiny/promote", body, headers).status == 200
        loaded, switched = follower.take(2)
    assert (loaded.subject, loaded.data["revision"]) == ("model.loaded", wanted)
    assert (switched.subject, switched.data["role"]) == ("version.switched", "champion")
    assert switched.data["revision"] == wanted


def test_no_tenant_is_told_of_another_and_a_revoked_key_of_nothing(home: Path):
    made = {
        name: make_key(home, name, "--tenant", name, "--scope", "infer", "--scope", "events:read")
        for name in ("acme", "umbrella")
    }
    limits = {"HEADRACE_LIMITS__REQUESTS_PER_S": "0.001", "HEADRACE_LIMITS__BURST": "1"}
    with ExitStack() as stack:
        server = stack.enter_context(running_server(home, "tiny", HEADRACE_AUTH__KEYS=KEY, **limits))
        keys = {name: each["key"] for name, each in made.items()}
        followers = {
            name: stack.enter_context(follow(server.port, headers={"x-api-key": key})) for name, key in keys.items()
        }
        for key in keys.values():
            assert [embed(server, key) for _ in range(2)] == [200, 429]
        for name, follower in followers.items():
            (told,) = follower.take(1)
            assert (told.subject, told.data["tenant"]) == ("limit.exceeded", name)
        assert server.request("DELETE", f"/api/v1/keys/{made['acme']['id']}", headers=AUTHORIZED).status == 200
        # Who reads is asked for its key again with what happens next, whoever may see that.
        for _ in range(3):
            time.sleep(1)
            embed(server, keys["umbrella"])
        last = until(followers["acme"], "reader.dropped")
        assert last.data["reason"] == "caller.unknown"
        assert followers["umbrella"].reply.status == 200


def test_a_stop_tells_readers_and_waits_for_none(home: Path):
    with running_server(home, "tiny", HEADRACE_SERVER__LINGER_S="0.1") as server:
        dead = [ask(server.port, "?after=0", receive_bytes=2048) for _ in range(4)]
        with follow(server.port) as follower:
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            told = follower.rest()
            assert server.process.wait(20) == 0
            assert time.monotonic() - begun < 10  # and not the 20 s that it drains for at most
        for each in dead:
            each.close()
        log = server.log.read_text()
    assert [(each.subject, each.data["reason"]) for each in told] == [("reader.dropped", "server.stopping")]
    assert follower.is_whole
    assert '"level":"error"' not in log
    assert log.count('"reason":"server.stopping"') == 5


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def rss_mb(server: RunningServer) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.connected
def test_replicas_tell_the_same_and_a_reader_goes_on_at_another(home: Path, shared: RedisServer):
    limits = {"HEADRACE_LIMITS__REQUESTS_PER_S": "0.001", "HEADRACE_LIMITS__BURST": "1"}
    common = {"HEADRACE_REDIS__URL": shared.url, "HEADRACE_AUTH__KEYS": KEY, **limits}
    with running_server(home, "tiny", **common) as one, running_server(home, "tiny", **common) as other:
        with follow(other.port, "?subject=limit.exceeded", AUTHORIZED) as follower:
            statuses = [embed(one) for _ in range(3)]
            assert statuses == [200, 429, 429]
            first, again = follower.take(2)
        with follow(one.port, headers={**AUTHORIZED, "last-event-id": first.id or ""}) as follower:
            assert follower.take(1) == [again]
        shared.stop()
        # It is away: what happens at a replica is told there all the same, and requests are answered.
        with follow(one.port, "?subject=limit.exceeded", AUTHORIZED) as follower:
            assert {embed(one) for _ in range(4)} <= {200, 429}
            assert until(follower, "limit.exceeded").data["task"] == "embed"
        shared.start()


@pytest.mark.connected
def test_a_flood_of_other_replicas_costs_no_memory_however_a_reader_reads(home: Path, shared: RedisServer):
    shared.start()
    with running_server(home, "tiny", HEADRACE_REDIS__URL=shared.url) as server, redis.Redis(port=shared.port) as flood:
        dead = [ask(server.port, receive_bytes=2048) for _ in range(8)]
        wait_until(lambda: b"headrace_event_readers 8.0" in server.request("GET", "/metrics").body)
        spoken = {"subject": "limit.exceeded", "tenant": None, "count": 1, "at": "2026-01-01T00:00:00Z"}
        before, told = rss_mb(server), 0
        for _ in range(60):
            pipeline = flood.pipeline(transaction=False)
            for _ in range(1000):
                told += 1
                event = json.dumps({**spoken, "fields": {"caller": f"{told} {'x' * 500}"}})
                pipeline.xadd("headrace:events:v1:all", {"key": f"flood:{told}", "event": event}, maxlen=1001)
            pipeline.execute()
        assert embed(server) == 200
        with follow(server.port, "?after=0") as follower:
            assert follower.next() is not None
        assert rss_mb(server) - before < 30  # 60,000 events of 600 bytes are 36 MB, eight times over
        assert server.stop() == 0
        for each in dead:
            each.close()
