import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bench.dialects import DIALECTS, answer_vectors, http_request, request_body
from bench.environments import lock_file
from bench.places import ROOT
from bench.server import Running, Server, ServerFailed, end_session, free_ports, read_servers, runnable, server_names
from bench.server import wait_for_answer as wait

from headrace.settings import options

PLACES = {
    "bin": "b",
    "home": "h",
    "checkpoint": "c",
    "root": "r",
    "scratch": "s",
    "port": 1,
    "second_port": 2,
    "third_port": 3,
    "precision": "bf16",
    "dtype": "bfloat16",
}
SERVERS = read_servers(server_names())


def test_headrace_comes_first_and_every_rival_has_both_columns() -> None:
    assert SERVERS[0].name == "Headrace, as it comes"
    assert len({server.name for server in SERVERS}) == len(SERVERS)
    columns = Counter(server.title for server in SERVERS)
    assert {title: count for title, count in columns.items() if count != 2} == {"Headrace int8": 1}


def test_who_needs_what_the_processor_lacks_takes_no_part() -> None:
    lacking = [server.title for server in SERVERS if server not in runnable(SERVERS, {"fp32", "int16"})]
    assert lacking == ["Headrace int8"]
    assert runnable(SERVERS, {"fp32", "int16", "bf16", "int8"}) == SERVERS


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_every_server_file_is_complete(server: Server) -> None:
    assert server.dialect in DIALECTS
    assert lock_file(server.environment).is_file()
    assert server.why
    filled = [text.format(**PLACES) for text in (*server.command, *server.variables.values())]
    assert not any("{" in text for text in filled)
    assert any("port" in text for text in (*server.command, *server.variables.values()))


def test_our_options_exist_and_the_cache_is_off() -> None:
    known = {option.variable for option in options()}
    for server in [server for server in SERVERS if server.environment == "headrace"]:
        assert set(server.variables) <= known
        assert server.variables["HEADRACE_CACHE__MAX_BYTES"] == "0"


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("bench-*.in")), ids=lambda path: path.stem)
def test_every_environment_is_locked_with_hashes(lock: Path) -> None:
    locked = lock.with_suffix(".txt").read_text()
    assert "--hash=sha256:" in locked
    assert "file:" not in locked


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("headrace", {"results": [{"embedding": [1, 2]}, {"embedding": [3, 4]}]}),
        ("openai", {"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]}),
        ("texts", {"embeddings": [[1, 2], [3, 4]]}),
        ("list", [[1, 2], [3, 4]]),
        ("open-inference", {"outputs": [{"shape": [2, 2], "data": [1, 2, 3, 4]}]}),
    ],
)
def test_every_dialect_finds_the_vectors_in_order(dialect: str, answer: object) -> None:
    found = answer_vectors(dialect, json.dumps(answer).encode())
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_sends_every_text(dialect: str) -> None:
    body = request_body(dialect, ["one", "zwei \u00fc"])
    assert json.dumps(["one", "zwei \u00fc"]).encode() in body


def test_a_request_says_how_long_it_is() -> None:
    head, _, body = http_request(80, "/embed", b"{}").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /embed HTTP/1.1\r\nhost: 127.0.0.1:80\r\n")
    assert b"content-length: 2" in head
    assert body == b"{}"


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(3))) == 3


def running(command: Sequence[str], port: int) -> Running:
    process = subprocess.Popen([sys.executable, *command], start_new_session=True)
    return Running(SERVERS[0], process, port, time.monotonic(), Path("the.log"))


def test_a_server_that_ends_at_once_is_told_with_its_log() -> None:
    started = running(["-c", "raise SystemExit(3)"], free_ports(1)[0])
    try:
        with pytest.raises(ServerFailed, match=r"Headrace, as it comes ended with 3; see logs/the\.log"):
            wait(started, b"GET / HTTP/1.1\r\n\r\n")
    finally:
        end_session(started.process)


def test_a_server_is_waited_for_and_ended() -> None:
    port = free_ports(1)[0]
    started = running(["-m", "bench.servers.trivial", str(port), "2"], port)
    try:
        assert wait(started, http_request(port, "/", b"{}")) > 0
    finally:
        end_session(started.process)
    assert started.process.poll() is not None
