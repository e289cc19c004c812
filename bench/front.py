"""Says what the front door costs: beside an empty route of FastAPI, and beside the engine with nothing around it.

Usage: python -m bench.front [--rounds N]

Headrace runs as one would run it: with a key, a limit, a line in its log for each request, metrics and a cache. In each
round all servers are asked the same, one after the other, by one client and by many; the CPU is that of the server.
"""

import argparse
import asyncio
import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
import uvloop

from bench import proctree
from bench.dialects import http_request
from bench.http_client import Client
from bench.interrupt import interrupt_on_terminate
from bench.model import NAME, Model, prepare_model
from bench.places import ROOT, cache_folder
from bench.progress import say
from bench.server import ServerFailed, ask_once, free_ports, tries
from bench.stats import percentile, ratios, spread
from bench.tables import spell, table
from bench.worker import LOGS, clean_variables

_ROUNDS: Final = 5
_KEY: Final = "front-bench-key-0123456789abcdef"
_START_LIMIT_S: Final = 60.0
_STOP_LIMIT_S: Final = 30.0
_OK: Final = 200
_HEADER: Final = ("Way", "p50 alone, µs", "Times", "CPU of a request, µs", "Times", "Requests/s, 16 clients", "Times")


@dataclass(frozen=True, slots=True)
class Way:
    """What is asked of whom.

    Attributes:
        body: Returns the body of a request by its number.
        alone: Requests of one client in a round.
        together: Requests of all clients in a round.
        against: Title of the way that it is compared with.
    """

    title: str
    server: str
    path: str
    body: Callable[[int], bytes]
    alone: int
    together: int
    against: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a way took in one round."""

    p50_us: float
    cpu_us: float
    per_s: float


def same(_number: int) -> bytes:
    """Return the same question each time."""
    return orjson.dumps({"inputs": ["The water drives the wheel."]})


def new(number: int) -> bytes:
    """Return a question that nobody has asked before."""
    return orjson.dumps({"inputs": [f"The water of mill number {number} drives its wheel."]})


_EMPTY: Final = "FastAPI, a route that does nothing, as it comes"
_SILENT: Final = "the same, without a log"
_BARE: Final = "the engine behind a route of FastAPI"
WAYS: Final = (
    Way(_EMPTY, "logging", "/empty", same, 1000, 4000, _EMPTY),
    Way(_SILENT, "bare", "/empty", same, 1000, 4000, _EMPTY),
    Way("Headrace, an answer that is remembered", "headrace", "/api/v1/embed", same, 1000, 4000, _EMPTY),
    Way(_BARE, "bare", "/embed", new, 300, 2000, _BARE),
    Way("Headrace, a text that is computed", "headrace", "/api/v1/embed", new, 300, 2000, _BARE),
)


class Asker:
    """Asks a server. Bodies are numbered through all rounds, so that those that should be new are."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid
        self._numbers = itertools.count()

    def take(self, way: Way) -> Taken:
        """Measure a way once."""
        alone, _, _ = self._run(way, 1, way.alone)
        _, cpu_s, took_s = self._run(way, 16, way.together)
        return Taken(percentile(alone, 0.5) * 1e6, cpu_s / way.together * 1e6, way.together / took_s)

    def _run(self, way: Way, clients: int, count: int) -> tuple[list[float], float, float]:
        """Return the times of requests, the CPU seconds of the server, and the seconds that all took."""
        headers = {"authorization": f"Bearer {_KEY}"}
        requests = iter(
            [http_request(self._port, way.path, way.body(next(self._numbers)), headers) for _ in range(count)]
        )
        times: list[float] = []

        async def work() -> None:
            client = Client(self._port)
            for request in requests:
                sent = time.perf_counter()
                status, body = await client.send(request)
                times.append(time.perf_counter() - sent)
                if status != _OK:
                    raise ServerFailed(f"{way.title}: status {status}: {body[:200]!r}")
            client.close()

        async def run() -> None:
            await asyncio.gather(*(work() for _ in range(clients)))

        used, started = proctree.cpu_s(self._pid), time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        return times, proctree.cpu_s(self._pid) - used, time.perf_counter() - started


@contextlib.contextmanager
def serving(name: str, command: list[str], port: int, path: str, more: Mapping[str, str]) -> Iterator[Asker]:
    """Start a server, and give what asks it.

    Raises:
        ServerFailed: It did not answer.
    """
    log = cache_folder() / LOGS / f"front-{name}.log"
    log.parent.mkdir(exist_ok=True)
    variables = {**clean_variables(offline=True), **more}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output) as process,
    ):
        try:
            request = http_request(port, path, same(0), {"authorization": f"Bearer {_KEY}"})
            if not any(ask_once(port, request) == _OK for _ in tries(time.monotonic() + _START_LIMIT_S)):
                raise ServerFailed(f"{name} did not answer; see {LOGS}/{log.name}")
            yield Asker(port, process.pid)
        finally:
            process.terminate()
            process.wait(_STOP_LIMIT_S)


@contextlib.contextmanager
def all_servers(model: Model) -> Iterator[dict[str, Asker]]:
    """Start all servers."""
    ours, bare, logging = free_ports(3)
    home, empty = ["--home", str(model.home)], [sys.executable, "-m", "bench.servers.empty_app"]
    headrace = [sys.executable, "-m", "headrace", "serve", NAME, *home, "--port", str(ours)]
    guarded = {
        "HEADRACE_AUTH__KEYS": _KEY,
        "HEADRACE_LIMITS__REQUESTS_PER_S": "1000000",
        "HEADRACE_LIMITS__BURST": "1000000",
        "HEADRACE_LOG__FORMAT": "json",
    }
    engine = [*empty, str(bare), *home, "--model", NAME]
    with (
        serving("headrace", headrace, ours, "/api/v1/embed", guarded) as first,
        serving("bare", engine, bare, "/empty", {}) as second,
        serving("logging", [*empty, str(logging), "--log"], logging, "/empty", {}) as third,
    ):
        yield {"headrace": first, "bare": second, "logging": third}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.front", description="Measure what the front door costs.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default {_ROUNDS}")
    asked = parser.parse_args()
    interrupt_on_terminate()
    taken: dict[str, list[Taken]] = {way.title: [] for way in WAYS}
    with all_servers(prepare_model()) as askers:
        for way in WAYS:
            askers[way.server].take(way)  # so that what is loaded later is there
        for number in range(asked.rounds):
            for way in WAYS:
                taken[way.title].append(askers[way.server].take(way))
            say(f"round {number + 1} of {asked.rounds}")
    print("\n".join(table(_HEADER, [_row(way, taken) for way in WAYS])))


def _row(way: Way, taken: Mapping[str, list[Taken]]) -> list[str]:
    cells = [way.title]
    for figure in ("p50_us", "cpu_us", "per_s"):
        ours, others = ([getattr(each, figure) for each in taken[title]] for title in (way.title, way.against))
        times = ratios(ours, others) if way.title != way.against else None
        cells += [spell(spread(ours)), "" if times is None else spell(times, 2)]
    return cells


if __name__ == "__main__":
    main()
