"""Says what requests notice while Redis is slow, silent, shut, or comes and goes: at 70 % of what the server can do.

Usage: python -m bench.outage [--rounds N] [--seconds N]

Each text is new, and nothing is remembered in the server's own memory, so every request asks Redis before the engine
and tells it afterwards. Beside it stands the same server without a cache, at the same rate.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.support.proxy import Fault, Proxy, proxy_to
from tests.support.redis_server import redis_server

from bench.interrupt import interrupt_on_terminate
from bench.load import Arrivals, Load, Texts, probe, running_generator
from bench.model import Model, prepare_model
from bench.places import cache_folder
from bench.progress import say
from bench.server import Running, Server, read_servers, running_server, wait_for_answer
from bench.stats import spread
from bench.tables import spell, table
from bench.worker import Worker

_ROUNDS: Final = 3
_SECONDS: Final = 10.0
_LOAD: Final = 0.7
_CLIENTS: Final = 16
_WARM_UP: Final = 1000
_LIMIT_S: Final = 10.0
_FLAP_S: Final = 0.5
_BACK_LIMIT_S: Final = 30.0
_WRITTEN_S: Final = 0.1  # writes are gathered for 10 ms
_MS: Final = 1000
_UNCACHED: Final = "no cache"
_STATES: Final[Mapping[str, tuple[Fault, ...]]] = {
    "Redis answers": ("none",),
    "Redis says nothing": ("blackhole",),
    "Redis is shut": ("refuse",),
    "Redis takes 50 ms": ("slow",),
    "Redis comes and goes": ("blackhole", "none", "refuse", "none"),
}
_HEADER: Final = (
    *("While", "p50, ms", "p99, ms", "Over no cache, ms", "Answered", "Refused", "Failed", "Used again after, s"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the requests of one load noticed.

    Attributes:
        refused: Told to come later, since the server had too much to do.
        failed: Got another answer, or none.
        back_s: Until an answer was remembered again, after the fault was over.
    """

    p50_s: float
    p99_s: float
    answered: float
    refused: float
    failed: float
    back_s: float | None = None


class Way:
    """A way to Redis that breaks when it is told to; it lives in a thread of its own.

    Attributes:
        port: Where it begins.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: Proxy) -> None:
        self.port = proxy.port
        self._loop = loop
        self._proxy = proxy
        self._is_over = asyncio.Event()

    @contextlib.contextmanager
    def broken(self, faults: tuple[Fault, ...]) -> Iterator[None]:
        """Have a fault, or one after the other, for the length of the block."""
        over = threading.Event()

        def flap() -> None:
            while not over.is_set():
                for fault in faults:
                    self._break(fault)
                    if over.wait(_FLAP_S):
                        break

        flapping = threading.Thread(target=flap)
        flapping.start()
        try:
            yield
        finally:
            over.set()
            flapping.join()
            self._break("none")

    async def last(self) -> None:
        """Wait until it is ended."""
        await self._is_over.wait()

    def end(self) -> None:
        """End it, from another thread."""
        self._loop.call_soon_threadsafe(self._is_over.set)

    def _break(self, fault: Fault) -> None:
        self._loop.call_soon_threadsafe(self._proxy.break_with, fault)


@contextlib.contextmanager
def way_to(port: int) -> Iterator[Way]:
    """Give a way to a port."""
    found: queue.SimpleQueue[Way] = queue.SimpleQueue()

    async def run() -> None:
        async with proxy_to(port) as proxy:
            way = Way(asyncio.get_running_loop(), proxy)
            found.put(way)
            await way.last()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    way = found.get()
    try:
        yield way
    finally:
        way.end()
        thread.join()


class Numbered:
    """Writes texts that nobody has asked about."""

    def __init__(self) -> None:
        self._number = 0

    def take(self, count: int) -> Texts:
        """Return so many new texts."""
        path = cache_folder() / "texts/outage.jsonl"
        numbers = range(self._number, self._number + count)
        self._number += count
        lines = [json.dumps({"text": f"The water of mill number {number} drives its wheel."}) for number in numbers]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokens = path.with_suffix(".tokens.json")
        tokens.write_text(json.dumps([12] * count), encoding="utf-8")
        return Texts(path, tokens, count)


def measure(load: Load, texts: Numbered, rate: float, seconds: float, seed: int) -> Seen:
    """Put an open load on a server."""
    arrivals = Arrivals(rate_per_s=rate, duration_s=seconds, goal_s=_LIMIT_S, limit_s=_LIMIT_S, seed=seed)
    figures = load.open(texts.take(round(2 * rate * seconds)), arrivals, per_request=1)
    return Seen(**{name: figures[name] for name in ("p50_s", "p99_s", "answered", "refused", "failed")})


def wait_until_used(running: Running) -> float:
    """Return the seconds until an answer is remembered in Redis, from where it comes once it is written."""
    started = time.monotonic()
    while (waited := time.monotonic() - started) < _BACK_LIMIT_S:
        texts = {"inputs": [f"A mill that stood still {waited:.6f}"]}
        _count_cached(running, texts)
        time.sleep(_WRITTEN_S)
        if _count_cached(running, texts):
            return waited
    return _BACK_LIMIT_S


def _count_cached(running: Running, body: Mapping[str, list[str]]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=_LIMIT_S)
    with contextlib.closing(connection):
        connection.request("POST", running.server.path, json.dumps(body), {"content-type": "application/json"})
        return int(json.loads(connection.getresponse().read())["usage"]["cached"])


def servers(redis_port: int) -> tuple[Server, Server]:
    """Return the server without a cache, and the one that has Redis and nothing else."""
    bare, other = (
        replace(each, command=(sys.executable, "-m", "headrace", *each.command[1:]))  # which has what speaks to Redis
        for each in read_servers(["headrace"])
    )
    cached = {**bare.variables, "HEADRACE_REDIS__URL": f"redis://127.0.0.1:{redis_port}"}
    return bare, replace(other, variables=cached)


def run_round(loads: Mapping[str, Load], way: Way, texts: Numbered, seconds: float, seed: int) -> dict[str, Seen]:
    """Measure the server without a cache, and then the other in each state."""
    warm = loads[_UNCACHED].closed(texts.take(_WARM_UP), per_request=1, clients=_CLIENTS)
    rate = _LOAD * warm["answered"] / warm["elapsed_s"]
    found = {_UNCACHED: measure(loads[_UNCACHED], texts, rate, seconds, seed)}
    for state, faults in _STATES.items():
        with way.broken(faults):
            seen = measure(loads["redis"], texts, rate, seconds, seed)
        found[state] = replace(seen, back_s=wait_until_used(loads["redis"].running))
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description="Measure what faults of Redis cost.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default {_ROUNDS}")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each load; default {_SECONDS:g}")
    asked = parser.parse_args()
    interrupt_on_terminate()
    model, texts = prepare_model(), Numbered()
    with redis_server() as redis, way_to(redis.port) as way, running_generator() as generator:
        bare, cached = servers(way.port)
        with _loading(bare, model, generator) as first, _loading(cached, model, generator) as second:
            loads = {_UNCACHED: first, "redis": second}
            rounds = []
            for number in range(asked.rounds):
                rounds.append(run_round(loads, way, texts, asked.seconds, number))
                say(f"round {number + 1} of {asked.rounds}")
    print("\n".join(table(_HEADER, [_row(state, rounds) for state in (_UNCACHED, *_STATES)])))


@contextlib.contextmanager
def _loading(server: Server, model: Model, generator: Worker) -> Iterator[Load]:
    with running_server(server, model) as running:
        wait_for_answer(running, probe(running))
        yield Load(generator, running)


def _row(state: str, rounds: list[dict[str, Seen]]) -> list[str]:
    seen = [each[state] for each in rounds]
    over = [(each[state].p99_s - each[_UNCACHED].p99_s) * _MS for each in rounds]
    back = [each.back_s for each in seen if each.back_s is not None]
    return [
        state,
        spell(spread([each.p50_s * _MS for each in seen]), 1),
        spell(spread([each.p99_s * _MS for each in seen]), 1),
        "" if state == _UNCACHED else spell(spread(over), 1),
        *(f"{sum(getattr(each, name) for each in seen):,.0f}" for name in ("answered", "refused", "failed")),
        spell(spread(back), 2) if back else "",
    ]


if __name__ == "__main__":
    main()
