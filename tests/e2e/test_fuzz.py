"""Requests with mistakes in them, by the thousand: none is a 5xx, and nobody else notices."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.fuzz import CASES, mutate, throw
from tests.support.server import RunningServer, running_server

KEY: Final = "a-key-of-24-characters-1"
EVERY: Final = 500  # cases between good requests
MOST_MIB: Final = 96  # that the server grows: caches and what Python keeps
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[RunningServer]:
    with running_server(home, "tiny", HEADRACE_AUTH__KEYS=KEY, HEADRACE_SERVER__RECEIVE_TIMEOUT_S="1") as running:
        yield running


def lines(method: str, path: str, *more: str, body: bytes = b"") -> list[bytes]:
    """Return a request in parts, so that a part can be repeated."""
    head = [f"{method} {path} HTTP/1.1", "host: localhost", f"authorization: Bearer {KEY}", *more]
    if body:
        head += ["content-type: application/json", f"content-length: {len(body)}"]
    return [*(f"{line}\r\n".encode() for line in head), b"\r\n", *([body] if body else [])]


def seeds() -> list[list[bytes]]:
    texts = json.dumps({"inputs": ["w1 w2", "w3"], "options": {"truncate": "chunk"}}).encode()
    tensors = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["w1"]}]}
    chunked = b"5\r\n" + texts[:5] + b"\r\n" + f"{len(texts) - 5:x}\r\n".encode() + texts[5:] + b"\r\n0\r\n\r\n"
    return [
        lines("POST", "/api/v1/embed", body=texts),
        [*lines("POST", "/api/v1/embed", "content-type: application/json", "transfer-encoding: chunked"), chunked],
        lines("POST", "/v1/embeddings", body=json.dumps({"model": "tiny", "input": "w1"}).encode()),
        lines("POST", "/embed", body=json.dumps({"inputs": ["w1"]}).encode()),
        lines("POST", "/v2/models/tiny/infer", body=json.dumps(tensors).encode()),
        lines("POST", "/models/tiny", body=json.dumps({"inputs": "w1"}).encode()),
        lines("POST", "/rerank", body=json.dumps({"query": "w1", "documents": ["w2"]}).encode()),
        lines("GET", "/api/v1/embed?text=w1", "if-none-match: *", "accept: application/json"),
        lines("GET", "/api/v1/models/tiny", "x-request-id: mine", "x-request-timeout: 1.5"),
        lines("GET", "/metrics"),
        [*lines("GET", "/livez"), *lines("GET", "/readyz"), *lines("POST", "/api/v1/embed", body=texts)],
    ]


def memory_of(server: RunningServer) -> int:
    """Return the memory that the server has now, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) >> 10


def test_what_is_nearly_a_request_is_no_5xx_and_ends_nothing(server: RunningServer):
    chance, requests = random.Random(6), seeds()
    good = json.dumps({"inputs": ["w1 w2"]}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    known = server.request("POST", "/api/v1/embed", good, headers).json()["results"]
    before, statuses = memory_of(server), set()
    for number in range(CASES):
        case = mutate(chance, chance.choice(requests))
        answer = throw(("127.0.0.1", server.port), case)
        found = {int(status) for status in STATUS.findall(answer)}
        assert all(status < 500 for status in found), (case, answer)
        assert KEY.encode() not in answer
        statuses |= found
        if number % EVERY == 0:
            assert server.request("POST", "/api/v1/embed", good, headers).json()["results"] == known
    assert {200, 400, 401, 404, 422} <= statuses  # they got as far as the routes
    assert memory_of(server) - before < MOST_MIB
    log = server.log.read_text(encoding="utf-8")
    assert KEY not in log
    assert [line for line in map(json.loads, log.splitlines()) if line["level"] == "error"] == []
