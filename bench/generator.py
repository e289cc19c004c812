"""The load generator: a process of its own, so that its CPU time is not the server's.

``closed`` keeps a number of clients busy until all texts are answered, or for some seconds. ``open`` sends at times
decided beforehand and counts each latency from the time at which the request *should* have been sent: a generator that
waits for a slow server would otherwise hide the waiting (coordinated omission).
"""

import asyncio
import json
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import uvloop

from bench.dialects import answer_vectors, http_request, request_body
from bench.http_client import AnswerInvalid, Client
from bench.schedule import arrivals, chunks
from bench.stats import percentile
from bench.workers.loop import answer_commands, read_texts

_Result = TypeVar("_Result")
_OK: Final = 200
_REFUSED: Final = (429, 503)
_FAILED: Final = 0
_MAX_CONNECTIONS: Final = 4096  # more than any of the servers queues: they shall refuse, not we
_RECOVERY_LIMIT_S: Final = 60.0
_PROBE_EVERY_S: Final = 0.05
_SHARES: Final = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99, "max_s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask, and what.

    Attributes:
        tokens: File of the texts' lengths, in the order of the texts: JSON, a list.
        per_request: Texts in a request.
        limit_s: After so long a request counts as failed.
        headers: Those that this server understands and others do not.
    """

    port: int
    path: str
    dialect: str
    texts: str
    tokens: str
    count: int
    per_request: int
    limit_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it should have been sent, when it was, when it ended; seconds since the start."""

    intended: float
    sent: float
    ended: float
    status: int
    tokens: int

    @property
    def latency(self) -> float:
        """From the intended time to the end."""
        return self.ended - self.intended


class Prepared:
    """The requests of a target, ready to be sent."""

    def __init__(self, target: Target) -> None:
        texts = read_texts(target.texts)[: target.count]
        lengths = json.loads(Path(target.tokens).read_text(encoding="utf-8"))[: target.count]
        bodies = [request_body(target.dialect, texts) for texts in chunks(texts, target.per_request)]
        self.requests = [http_request(target.port, target.path, body, target.headers) for body in bodies]
        size = target.per_request
        self.tokens = [sum(lengths[start : start + size]) for start in range(0, len(lengths), size)]
        self.limit_s = target.limit_s
        self.port = target.port

    async def ask(self, client: Client, number: int, intended: float, started: float) -> Sample:
        """Send one request; whatever goes wrong, being late by the limit too, is a sample with status 0."""
        place = number % len(self.requests)
        sent = time.perf_counter() - started
        try:
            async with asyncio.timeout(intended + self.limit_s - sent):
                status, _ = await client.send(self.requests[place])
        except (OSError, TimeoutError, EOFError, AnswerInvalid):
            status = _FAILED
        return Sample(intended, sent, time.perf_counter() - started, status, self.tokens[place])


async def run_closed(prepared: Prepared, clients: int, most_s: float = math.inf) -> list[Sample]:
    """Send every request once, none later than ``most_s``; each client sends its next one when it has its answer."""
    numbers = iter(range(len(prepared.requests)))
    samples: list[Sample] = []
    started = time.perf_counter()

    async def work() -> None:
        client = Client(prepared.port)
        while (now := time.perf_counter() - started) < most_s and (number := next(numbers, None)) is not None:
            samples.append(await prepared.ask(client, number, now, started))
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return samples


async def run_open(prepared: Prepared, times: Sequence[float], goal_s: float) -> tuple[list[Sample], float]:
    """Send requests at the given times, on as many connections as it takes up to a bound.

    Returns:
        The samples, and the seconds from the last of the times until a new request is answered within the goal.
    """
    idle: list[Client] = []
    room = asyncio.Semaphore(_MAX_CONNECTIONS)
    started = time.perf_counter()

    async def send(number: int, intended: float) -> Sample:
        async with room:
            client = idle.pop() if idle else Client(prepared.port)
            sample = await prepared.ask(client, number, intended, started)
            idle.append(client)
            return sample

    running = []
    for number, intended in enumerate(times):
        await asyncio.sleep(max(0.0, intended - (time.perf_counter() - started)))
        running.append(asyncio.create_task(send(number, intended)))
    recovery_s = await _recover(prepared, goal_s)
    samples = await asyncio.gather(*running)
    for client in idle:
        client.close()
    return list(samples), recovery_s


async def _recover(prepared: Prepared, goal_s: float) -> float:
    """Ask one after another until an answer comes in time; returns the seconds that took, or the bound."""
    client = Client(prepared.port)
    started = time.perf_counter()
    while (now := time.perf_counter() - started) < _RECOVERY_LIMIT_S:
        probe = await prepared.ask(client, 0, now, started)
        if probe.status == _OK and probe.latency <= goal_s:
            break
        await asyncio.sleep(_PROBE_EVERY_S)
    client.close()
    return time.perf_counter() - started


def summarise(samples: Sequence[Sample], goal_s: float) -> dict[str, float]:
    """Reduce the samples of a load.

    Args:
        samples: At least one.
        goal_s: An answer within this time of the intended one is good.
    """
    answered = [each for each in samples if each.status == _OK]
    refused = [each for each in samples if each.status in _REFUSED]
    elapsed = max(each.ended for each in samples) - min(each.intended for each in samples)
    good = [each for each in answered if each.latency <= goal_s]
    figures = {
        "requests": float(len(samples)),
        "answered": float(len(answered)),
        "refused": float(len(refused)),
        "failed": float(len(samples) - len(answered) - len(refused)),
        "elapsed_s": elapsed,
        "tokens": float(sum(each.tokens for each in answered)),
        "tokens_per_s": sum(each.tokens for each in answered) / elapsed,
        "good_tokens_per_s": sum(each.tokens for each in good) / elapsed,
        "late_sends_p99_s": percentile([each.sent - each.intended for each in samples], 0.99),
    }
    for group, prefix in ((answered, ""), (refused, "refusal_")):
        if group:
            latencies = [each.latency for each in group]
            figures |= {f"{prefix}{name}": percentile(latencies, share) for name, share in _SHARES.items()}
    if refused:
        figures["refusal_since_sent_p99_s"] = percentile([each.ended - each.sent for each in refused], 0.99)
    return figures


def summarise_by_length(samples: Sequence[Sample], goal_s: float, short_tokens: int) -> dict[str, float]:
    """Reduce the samples of short requests, and those of the others: as `summarise`, after ``short_`` and ``long_``."""
    short = [each for each in samples if each.tokens <= short_tokens]
    long = [each for each in samples if each.tokens > short_tokens]
    return {
        f"{name}_{figure}": value
        for name, chosen in (("short", short), ("long", long))
        if chosen
        for figure, value in summarise(chosen, goal_s).items()
    }


def _run(load: Coroutine[Any, Any, _Result]) -> tuple[_Result, float]:
    """Run a load; returns its result and the CPU seconds it took here."""
    used = time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(load)
    return result, time.process_time() - used


def closed(clients: int, most_s: float | None, **target: Any) -> dict[str, Any]:
    """Run a closed-loop load."""
    samples, used = _run(run_closed(Prepared(Target(**target)), clients, math.inf if most_s is None else most_s))
    figures = summarise(samples, math.inf)
    return figures | {"generator_cpu_share": used / figures["elapsed_s"]}


def open_loop(
    rate_per_s: float, duration_s: float, seed: int, goal_s: float, short_tokens: int | None, **target: Any
) -> dict[str, Any]:
    """Run an open-loop load, and wait until the server has recovered from it."""
    times = arrivals(rate_per_s, duration_s, seed)
    (samples, recovery_s), used = _run(run_open(Prepared(Target(**target)), times, goal_s))
    figures = summarise(samples, goal_s)
    if short_tokens is not None:
        figures |= summarise_by_length(samples, goal_s, short_tokens)
    return figures | {"recovery_s": recovery_s, "generator_cpu_share": used / figures["elapsed_s"]}


def vectors(answers: str, **target: Any) -> dict[str, Any]:
    """Send every request once, one after another, and write the vectors of the answers to a file."""
    wanted = Target(**target)
    prepared = Prepared(wanted)

    async def fetch() -> list[bytes]:
        client = Client(wanted.port)
        bodies = []
        for request in prepared.requests:
            async with asyncio.timeout(wanted.limit_s):
                status, body = await client.send(request)
            if status != _OK:
                raise AnswerInvalid(f"status {status}: {body[:200]!r}")
            bodies.append(body)
        client.close()
        return bodies

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        np.save(answers, np.concatenate([answer_vectors(wanted.dialect, body) for body in runner.run(fetch())]))
    return {}


if __name__ == "__main__":
    answer_commands({"closed": closed, "open": open_loop, "vectors": vectors})
