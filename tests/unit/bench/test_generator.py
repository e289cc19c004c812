import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bench.dialects import request_body
from bench.generator import Prepared, Sample, Target, open_loop, run_closed, run_open, summarise, summarise_by_length
from bench.servers.trivial import Trivial

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSAL = b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}"


def sample(intended: float, ended: float, status: int = 200, tokens: int = 10) -> Sample:
    return Sample(intended, intended, ended, status, tokens)


def test_a_latency_begins_when_the_request_should_have_been_sent() -> None:
    assert Sample(intended=1.0, sent=4.0, ended=5.0, status=200, tokens=1).latency == 4.0


def test_how_long_a_refusal_takes_is_also_told_without_the_time_by_which_it_was_sent_late() -> None:
    late = Sample(intended=1.0, sent=4.0, ended=4.5, status=429, tokens=1)
    figures = summarise([late, sample(0, 1)], goal_s=1.0)
    assert (figures["refusal_p99_s"], figures["refusal_since_sent_p99_s"]) == (3.5, 0.5)


def test_only_answers_count_as_throughput_and_only_timely_ones_as_good() -> None:
    figures = summarise([sample(0, 1), sample(0, 4), sample(1, 1.5, status=429), sample(2, 3, status=0)], goal_s=2.0)
    assert (figures["answered"], figures["refused"], figures["failed"], figures["requests"]) == (2, 1, 1, 4)
    assert figures["tokens_per_s"] == 20 / 4
    assert figures["good_tokens_per_s"] == 10 / 4
    assert figures["refusal_p99_s"] == 0.5
    assert figures["p50_s"] == 1.0
    assert figures["p99_s"] == 4.0


def test_without_any_answer_there_are_no_latencies() -> None:
    figures = summarise([sample(0, 1, status=500)], goal_s=1.0)
    assert figures["failed"] == 1
    assert "p50_s" not in figures


def test_what_the_generator_sent_late_is_told() -> None:
    assert summarise([Sample(0.0, 0.25, 1.0, 200, 1)], goal_s=1.0)["late_sends_p99_s"] == 0.25


def test_figures_of_short_requests_know_nothing_of_the_long_ones() -> None:
    short = [sample(0, 1, tokens=6), sample(0, 2, tokens=16), sample(0, 9, status=503, tokens=16)]
    figures = summarise_by_length([*short, sample(0, 5, tokens=17)], goal_s=3.0, short_tokens=16)
    assert (figures["short_p50_s"], figures["short_p99_s"], figures["short_refused"]) == (1.0, 2.0, 1)
    assert (figures["long_p99_s"], figures["long_refused"], figures["long_requests"]) == (5.0, 0, 1)


def test_a_length_of_which_there_is_no_request_has_no_figures() -> None:
    figures = summarise_by_length([sample(0, 1, tokens=6)], goal_s=1.0, short_tokens=16)
    assert {name.partition("_")[0] for name in figures} == {"short"}


class Counting:
    """A server that answers 200 until a number of requests, and 503 from then on."""

    def __init__(self, good: int) -> None:
        self.bodies: list[bytes] = []
        self.good = good

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                writer.write(OK if len(self.bodies) <= self.good else REFUSAL)
        except asyncio.IncompleteReadError:
            writer.close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "texts").write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(10)))
    (tmp_path / "tokens").write_text(json.dumps(list(range(1, 11))))
    return {"texts": str(tmp_path / "texts"), "tokens": str(tmp_path / "tokens")}


@pytest.fixture
async def counting() -> AsyncIterator[tuple[Counting, int]]:
    served = Counting(good=1000)
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0)
    yield served, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def prepare(files: dict[str, str], port: int, *, per_request: int, limit_s: float = 20.0, count: int = 10) -> Prepared:
    return Prepared(
        Target(
            port=port,
            path="/",
            dialect="texts",
            texts=files["texts"],
            tokens=files["tokens"],
            count=count,
            per_request=per_request,
            limit_s=limit_s,
        )
    )


async def test_a_closed_load_sends_every_text_once(files: dict[str, str], counting: tuple[Counting, int]) -> None:
    served, port = counting
    samples = await run_closed(prepare(files, port, per_request=3), clients=2)
    texts = [text for body in served.bodies for text in json.loads(body)["texts"]]
    assert sorted(texts) == sorted(f"text {number}" for number in range(10))
    assert [each.status for each in samples] == [200] * 4
    assert sum(each.tokens for each in samples) == sum(range(1, 11))


async def test_an_open_load_sends_at_every_arrival_and_starts_over_with_the_texts(
    files: dict[str, str], counting: tuple[Counting, int]
) -> None:
    served, port = counting
    times = [0.001 * number for number in range(25)]
    samples, recovery_s = await run_open(prepare(files, port, per_request=1), times, goal_s=10.0)
    assert [each.intended for each in samples] == times
    assert {each.status for each in samples} == {200}
    assert served.bodies.count(request_body("texts", ["text 4"])) == 3
    assert 0 < recovery_s < 20


async def test_a_closed_load_ends_when_its_time_is_over(files: dict[str, str], counting: tuple[Counting, int]) -> None:
    served, port = counting
    prepared = prepare(files, port, per_request=1)
    assert await run_closed(prepared, clients=2, most_s=0.0) == []
    assert len(await run_closed(prepared, clients=2, most_s=60.0)) == len(served.bodies) == 10


@pytest.mark.parametrize(("short_tokens", "prefixes"), [(None, set()), (5, {"short", "long"})])
async def test_lengths_are_told_apart_where_it_is_asked_for(
    files: dict[str, str], counting: tuple[Counting, int], short_tokens: int | None, prefixes: set[str]
) -> None:
    target = {"port": counting[1], "path": "/", "dialect": "texts", "count": 10, "per_request": 1, "limit_s": 20.0}
    load: dict[str, Any] = {"rate_per_s": 1000.0, "duration_s": 0.1, "seed": 0, "goal_s": 10.0, **target, **files}
    figures = await asyncio.to_thread(open_loop, short_tokens=short_tokens, **load)
    assert {name.removesuffix("_answered") for name in figures if name.endswith("_answered")} == prefixes


async def test_refusals_are_samples_too(files: dict[str, str], counting: tuple[Counting, int]) -> None:
    served, port = counting
    served.good = 3
    samples = await run_closed(prepare(files, port, per_request=1), clients=1)
    assert [each.status for each in samples] == [200] * 3 + [503] * 7


async def test_a_server_that_is_not_there_is_a_failure_not_a_crash(files: dict[str, str], unused_tcp_port: int) -> None:
    samples = await run_closed(prepare(files, unused_tcp_port, per_request=5), clients=1)
    assert [each.status for each in samples] == [0, 0]


async def test_a_request_that_is_late_by_the_limit_is_given_up(
    files: dict[str, str], counting: tuple[Counting, int]
) -> None:
    served, port = counting
    prepared = prepare(files, port, per_request=1, limit_s=-1.0)
    samples = await run_closed(prepared, clients=1)
    assert {each.status for each in samples} == {0}
    assert served.bodies == []


async def test_the_trivial_server_answers_every_request_also_in_pieces() -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Trivial(OK), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        request = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
        writer.write(request + request[:-2])
        assert await reader.readexactly(len(OK)) == OK
        writer.write(request[-2:] + b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(2 * len(OK)) == OK + OK
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
