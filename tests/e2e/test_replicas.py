"""Several servers that share what they know: keys, and how much callers used."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.models import add_model
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.redis_server import RedisServer, redis_server
from tests.support.server import Reply, RunningServer, running_server

from headrace.models.store import LocalStore

LIMIT_S = 30
ROOT_KEY = "the-key-of-the-settings"
POLICIES = (
    '"concurrent-model";q=8;qu="concurrent-requests"',
    '"requests";q=20;w=20000',
    '"requests-day";q=500;w=86400',
    '"tokens";q=100000;qu="tokens";w=1',
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    add_model(LocalStore(tmp_path / "models"), "tiny", seed=0)
    return tmp_path


Start = Callable[..., list[RunningServer]]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts as many replicas as asked for, and stops them in the end."""
    with ExitStack() as stack:
        yield lambda count, **variables: [
            stack.enter_context(running_server(home, "tiny", **variables)) for _ in range(count)
        ]


def headrace(home: Path, *arguments: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments, "--json"],
        env={**environment, "HEADRACE_STORE__HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def embed(server: RunningServer, key: str, text: str = "w1") -> Reply:
    return server.embed({"inputs": [text]}, headers={"authorization": f"Bearer {key}"})


def ask(server: RunningServer, method: str, path: str, key: str, **body: Any) -> Reply:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return server.request(method, path, json.dumps(body).encode() if body else b"", headers)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_keys_that_are_made_and_revoked_beside_the_servers_are_followed(home: Path, start: Start):
    replicas = start(2)
    assert [each.embed({"inputs": ["w1"]}).status for each in replicas] == [200, 200]
    made = headrace(home, "keys", "create", "job", "--scope", "infer")
    for each in replicas:
        until(lambda each=each: each.embed({"inputs": ["w1"]}).status == 401)  # type: ignore[misc]
        assert embed(each, made["key"]).status == 200  # the first key closed the door, and opens it
    headrace(home, "keys", "revoke", made["id"])
    for each in replicas:
        until(lambda each=each: embed(each, made["key"]).status == 401)  # type: ignore[misc]
    logged = "".join(each.log.read_text() for each in replicas)
    assert made["key"] not in logged


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.connected
def test_two_replicas_admit_no_more_than_the_limit_and_say_what_is_left(start: Start, redis: RedisServer):
    replicas = start(
        2,
        HEADRACE_REDIS__URL=redis.url,
        HEADRACE_LIMITS__REQUESTS_PER_S="0.001",
        HEADRACE_LIMITS__BURST="20",
        HEADRACE_LIMITS__RULES="500 requests/day; 100000 tokens/s; 8 concurrent model=*",
        HEADRACE_AUTH__KEYS=ROOT_KEY,
    )
    replies = [embed(replicas[number % 2], ROOT_KEY) for number in range(30)]
    assert [reply.status for reply in replies] == [200] * 20 + [429] * 10
    left = [reply.headers["ratelimit"].split(";")[1] for reply in replies]
    assert left == [f"r={number}" for number in range(19, -1, -1)] + ["r=0"] * 10
    policies = {reply.headers["ratelimit-policy"] for reply in replies}
    assert policies == {", ".join(POLICIES)}


def texts_computed(server: RunningServer) -> float:
    told = server.request("GET", "/metrics").body.decode()
    found = re.search(r'^headrace_batch_texts_sum\{model="tiny"\} (.+)$', told, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.connected
def test_a_thousand_who_ask_the_same_at_once_have_it_computed_once_at_each_replica(start: Start, redis: RedisServer):
    replicas = start(2, HEADRACE_REDIS__URL=redis.url)
    assert [each.embed({"inputs": [f"w{port}"]}).status for port, each in enumerate(replicas)] == [200, 200]
    before = [texts_computed(each) for each in replicas]  # those of the probes, which were counted by now
    with ThreadPoolExecutor(100) as threads:
        asked = [replicas[number % 2] for number in range(1000)]
        replies = list(threads.map(lambda server: server.embed({"inputs": ["w1 w2 w3"]}), asked))
    assert [reply.status for reply in replies] == [200] * 1000
    assert len({json.dumps(reply.json()["results"]) for reply in replies}) == 1
    computed = [texts_computed(each) - earlier for each, earlier in zip(replicas, before, strict=True)]
    assert 1 <= sum(computed) <= 2


@pytest.mark.connected
def test_while_redis_is_gone_every_request_is_answered(start: Start, redis: RedisServer):
    (server,) = start(1, HEADRACE_REDIS__URL=redis.url, HEADRACE_LIMITS__REQUESTS_PER_S="1000")
    statuses = []
    for is_there in (True, False, True):
        if is_there:
            redis.start()
        else:
            redis.stop()
        statuses += [server.embed({"inputs": [f"w{number}"]}).status for number in range(30)]
    assert statuses == [200] * 90
    until(lambda: server.embed({"inputs": ["w1"]}).status == 200 and "redis.back" in server.log.read_text())
    assert server.log.read_text().count("redis.away") == 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.connected
def test_while_the_database_is_gone_known_keys_go_on_and_changes_are_refused(start: Start, postgres: PostgresServer):
    replicas = start(2, HEADRACE_RECORDS__URL=postgres.make_database(), HEADRACE_AUTH__KEYS=ROOT_KEY)
    made = ask(replicas[0], "POST", "/api/v1/keys", ROOT_KEY, name="job", scopes=["infer"]).json()
    until(lambda: embed(replicas[1], made["key"]).status == 200)
    postgres.stop()
    assert [embed(each, made["key"]).status for each in replicas * 5] == [200] * 10
    refused = ask(replicas[0], "DELETE", f"/api/v1/keys/{made['id']}", ROOT_KEY)
    assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (503, "records.unusable", "1")
    assert postgres.password not in refused.body.decode() + replicas[0].log.read_text()
    postgres.start()
    until(lambda: ask(replicas[0], "DELETE", f"/api/v1/keys/{made['id']}", ROOT_KEY).status == 200)
    until(lambda: embed(replicas[1], made["key"]).status == 401)
