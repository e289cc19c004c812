"""Calls over gRPC to the real server: as REST answers, and whatever is thrown at it."""

import contextlib
import gzip
import json
import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.support.fuzz import CASES, mutate, throw
from tests.support.server import RunningServer, running_server, wait_until

from headrace.api.grpc.generated import headrace_pb2 as pb

KEY: Final = "a-key-of-24-characters-1"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[RunningServer]:
    with running_server(home, "tiny", HEADRACE_SERVER__GRPC_PORT="0", HEADRACE_AUTH__KEYS=KEY) as running:
        yield running


@contextlib.contextmanager
def channel_to(server: RunningServer, *options: tuple[str, Any]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1), *options]) as channel:
        yield channel


def embed(channel: grpc.Channel, *texts: str, **options: Any) -> pb.EmbedResponse:
    call: Any = channel.unary_unary(
        "/headrace.v1.Inference/Embed",
        request_serializer=pb.EmbedRequest.SerializeToString,
        response_deserializer=pb.EmbedResponse.FromString,
    )
    options = {"timeout": 20, "metadata": (("authorization", f"Bearer {KEY}"),), **options}
    return call(pb.EmbedRequest(inputs=texts), **options)  # type: ignore[no-any-return]


def status_of(server: RunningServer, service: str = "") -> int:
    with channel_to(server) as channel:
        call: Any = channel.unary_unary(
            "/grpc.health.v1.Health/Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
        )
        return int(call(health_pb2.HealthCheckRequest(service=service).SerializeToString(), timeout=5).status)


def memory_of(server: RunningServer) -> int:
    """Return the most memory that the server ever had, in MiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10


def test_both_doors_give_the_same_numbers(server: RunningServer):
    texts = ["w1 w2 w3", "", "w4 😀"]
    with channel_to(server) as channel:
        answer = embed(channel, *texts)
    known = server.embed({"inputs": texts}, headers={"authorization": f"Bearer {KEY}"}).json()
    assert [list(each.embedding) for each in answer.results] == [
        pytest.approx(each["embedding"], abs=0, rel=1e-7) for each in known["results"]
    ]
    assert (answer.model, answer.revision) == (known["model"], known["revision"])


def test_it_says_where_it_is(server: RunningServer):
    assert server.grpc.startswith("127.0.0.1:")
    assert status_of(server) == status_of(server, "headrace.v1.Inference") == health_pb2.HealthCheckResponse.SERVING


def test_a_stop_under_load_fails_no_call_that_was_begun(home: Path):
    # Each client is to hear in a call that the server stops, also where eight of them share a core with it.
    variables = {
        "HEADRACE_SERVER__GRPC_PORT": "0",
        "HEADRACE_SERVER__LINGER_S": "3",
        "HEADRACE_CACHE__MAX_BYTES": "0",
    }
    with running_server(home, "tiny", **variables) as server:
        failures, answered = [], [0] * 8

        def ask(number: int) -> None:
            with channel_to(server, ("grpc.enable_retries", 0)) as channel:
                while True:
                    try:
                        assert len(embed(channel, "w1 w2", "w3").results) == 2
                        answered[number] += 1
                    except grpc.RpcError as error:
                        # A call that comes after the stop is turned away, before anything is done for it.
                        if error.code() is not grpc.StatusCode.UNAVAILABLE:
                            failures.append(f"{error.code()}: {error.details()}")
                        return

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(answered) > 100)
        assert server.stop(signal.SIGTERM) == 0
        for thread in threads:
            thread.join(20)
        assert failures == []


def test_a_killed_engine_fails_no_call(home: Path):
    variables = {"HEADRACE_SERVER__GRPC_PORT": "0", "HEADRACE_CACHE__MAX_BYTES": "0"}
    with running_server(home, "tiny", **variables) as server, channel_to(server) as channel:
        for round_ in range(3):
            children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text("utf-8")
            for child in children.split():
                os.kill(int(child), signal.SIGKILL)
            assert len(embed(channel, f"w{round_}", "w2").results) == 2


def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data


def header(name: bytes, value: bytes) -> bytes:
    """Return a header as HPACK has it when it knows none: each under 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path: bytes = b"/headrace.v1.Inference/Embed", *more: tuple[bytes, bytes], key: str = KEY) -> bytes:
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    plain = [(b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"x-api-key", key.encode())]
    return b"".join(header(name, value) for name, value in (*pseudo, *plain, *more))


def message(data: bytes, *, is_compressed: bool = False) -> bytes:
    return bytes([is_compressed]) + struct.pack(">I", len(data)) + data


def converse(server: RunningServer, *parts: bytes, wait_s: float = 0.3) -> bytes:
    """Send bytes on a connection of its own and return what comes back in a while."""
    host, _, port = server.grpc.rpartition(":")
    found = bytearray()
    with socket.create_connection((host, int(port)), timeout=20) as connection, contextlib.suppress(OSError):
        for part in parts:
            connection.sendall(part)
        connection.settimeout(wait_s)
        while data := connection.recv(65536):
            found += data
    return bytes(found)


def test_a_small_message_that_unpacks_to_much_is_not_unpacked(server: RunningServer):
    before = memory_of(server)
    bomb = gzip.compress(bytes(1 << 28))
    assert len(bomb) < 1 << 20
    packed = head(b"/headrace.v1.Inference/Embed", (b"grpc-encoding", b"gzip"))
    data = message(bomb, is_compressed=True)
    frames = [frame(DATA, 0, 1, data[at : at + 16384]) for at in range(0, len(data), 16384)]
    answer = converse(
        server, PREFACE, frame(SETTINGS, 0, 0), frame(HEADERS, END_HEADERS, 1, packed), *frames[:3], frame(DATA, 1, 1)
    )
    assert b"12" in answer  # UNIMPLEMENTED
    assert memory_of(server) - before < 32


def test_a_message_that_says_it_is_long_is_not_waited_for(server: RunningServer):
    before = memory_of(server)
    start = b"\0" + struct.pack(">I", (1 << 32) - 1)
    frames = [frame(DATA, 0, 1, start + bytes(16000)), *(frame(DATA, 0, 1, bytes(16384)) for _ in range(2000))]
    converse(server, PREFACE, frame(SETTINGS, 0, 0), frame(HEADERS, END_HEADERS, 1, head()), *frames)
    assert memory_of(server) - before < 32


@pytest.mark.parametrize(
    "attack",
    [
        [frame(HEADERS, 0, 1, head()), *(frame(CONTINUATION, 0, 1, header(b"x", b"y" * 100)) for _ in range(20_000))],
        [frame(HEADERS, END_HEADERS, 1, header(b"a", b"b" * 100) + b"\xbe" * 16000)] * 50,
        [
            part
            for number in range(1, 4001, 2)
            for part in (frame(HEADERS, 5, number, head()), frame(RST, 0, number, bytes(4)))
        ],
        [frame(PING, 0, 0, bytes(8))] * 20_000,
        [frame(SETTINGS, 0, 0, struct.pack(">HI", 4, number)) for number in range(20_000)],
        [frame(HEADERS, 5, number, head(key="none-of-the-keys-at-all")) for number in range(1, 4001, 2)],
    ],
    ids=["headers without end", "headers that repeat", "rapid reset", "pings", "settings", "nobody's calls"],
)
def test_a_flood_costs_nobody_else_an_answer(server: RunningServer, attack: list[bytes]):
    before, stop, failures = memory_of(server), threading.Event(), []

    def ask() -> None:
        with channel_to(server) as channel:
            while not stop.is_set():
                try:
                    embed(channel, "w1")
                except grpc.RpcError as error:
                    failures.append(f"{error.code()}: {error.details()}")

    neighbour = threading.Thread(target=ask)
    neighbour.start()
    try:
        converse(server, PREFACE, frame(SETTINGS, 0, 0), *attack, wait_s=0.5)
    finally:
        stop.set()
        neighbour.join(20)
    assert failures == []
    assert server.process.poll() is None
    assert memory_of(server) - before < 64


def test_bytes_that_are_nearly_http2_end_no_server(server: RunningServer):
    chance = random.Random(6)
    good = [
        PREFACE,
        frame(SETTINGS, 0, 0),
        frame(HEADERS, END_HEADERS, 1, head()),
        frame(DATA, END_STREAM, 1, message(pb.EmbedRequest(inputs=["w1"]).SerializeToString())),
        frame(PING, 0, 0, bytes(8)),
    ]
    assert b"\x00\x00" in converse(server, *good)
    host, _, port = server.grpc.rpartition(":")
    for number in range(CASES):
        keeps_preface = chance.random() < 0.8
        rest = mutate(chance, good[1:] if keeps_preface else good)
        throw((host, int(port)), PREFACE + rest if keeps_preface else rest)
        if number % 500 == 0:
            with channel_to(server) as channel:
                assert len(embed(channel, f"w{number}").results) == 1
    assert server.process.poll() is None
    log = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    assert [line for line in log if line.get("level") == "error"] == []
    assert KEY not in server.log.read_text(encoding="utf-8")


def test_what_the_log_and_the_metrics_say(server: RunningServer):
    with channel_to(server) as channel:
        embed(channel, "w1", metadata=(("authorization", f"Bearer {KEY}"), ("x-request-id", "mine-1")))
        with pytest.raises(grpc.RpcError):
            embed(channel, "w1", metadata=())
    wait_until(lambda: '"mine-1"' in server.log.read_text(encoding="utf-8"))
    page = server.request("GET", "/metrics", headers={"authorization": f"Bearer {KEY}"}).body.decode()
    method = 'method="headrace.v1.Inference/Embed"'
    assert f'headrace_grpc_calls_total{{{method},status="OK"}}' in page
    assert f'headrace_grpc_calls_total{{{method},status="UNAUTHENTICATED"}}' in page
