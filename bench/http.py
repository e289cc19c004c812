"""The part `http`: servers over loopback, each from its own environment.

One server runs at a time. A round starts each of them in turn, so there is a figure of its start in every
round, and idle rivals take neither memory nor cores from the one that is measured.
"""

import time
from typing import Any, Final

from bench import proctree
from bench.accuracy import Vectors, compare, read_vectors, reference
from bench.environments import EnvironmentUnusable
from bench.facts import own_precisions
from bench.load import REQUEST_LIMIT_S, Load, Texts, first, probe, running_generator, running_trivial, short
from bench.places import cache_folder
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.server import Server, ServerFailed, read_servers, runnable, running_server, wait_for_answer
from bench.worker import Worker, WorkerFailed

PART: Final = "http"
CEILING: Final = "http ceiling"
BATCH: Final = (32, 4)  # texts a request, clients
SINGLE: Final = (1, 32)
_TEXTS: Final = 1024
_WARM_UP: Final = 64
LOAD_S: Final = 20.0  # all texts take Headrace 6 s, and the slowest rivals five minutes
_ANSWER_BYTES: Final = 32 * 384 * 11  # a request's vectors in JSON: some 11 characters a number
_SETTLE_S: Final = 1.0
_MOST_MISSING: Final = 0.01  # of the requests; who answers fewer is not measured at the load that was asked for


def run_http(run: Run) -> None:
    """Measure all servers in interleaved rounds; one that does not run here is left out with its reason."""
    expected = reference(run)
    texts = first(run.mix, _TEXTS)
    with running_generator() as generator:
        _measure_ceiling(run, generator, texts)
        for number in range(run.rounds):
            for server in runnable(read_servers(run.servers), own_precisions()):
                if server.name in run.results.left_out or run.results.has(PART, server.name, number):
                    continue
                say(f"http, round {number + 1} of {run.rounds}: {server.name}")
                try:
                    values = _measure(run, server, generator, texts, expected)
                except (EnvironmentUnusable, ServerFailed, WorkerFailed, ValueError) as error:
                    say(f"leaving out {server.name}: {error}")
                    run.results.leave_out(server.name, str(error))
                    continue
                run.results.add(Measurement(PART, server.name, number, values))
                say(f"  {values['batch_tokens_per_s']:,.0f} and {values['single_tokens_per_s']:,.0f} tokens/s")


def _measure(run: Run, server: Server, generator: Worker, texts: Texts, expected: Vectors) -> dict[str, float]:
    """Start a server and put every load on it."""
    with running_server(server, run.model) as running:
        start_s = wait_for_answer(running, probe(running))
        load = Load(generator, running)
        for per_request, clients in (BATCH, SINGLE):
            load.closed(first(run.mix, _WARM_UP), per_request=per_request, clients=clients)
        time.sleep(_SETTLE_S)
        idle = load.closed(short(run.mix), per_request=1, clients=1)
        batch = _loaded(load, texts, *BATCH)
        single = _loaded(load, texts, *SINGLE)
        target = cache_folder() / "vectors.npy"
        load.vectors(first(run.mix, run.checked), target)
        return {
            "start_s": start_s,
            "idle_p50_s": _of(idle, "p50_s"),
            "idle_p99_s": _of(idle, "p99_s"),
            **{f"batch_{name}": value for name, value in batch.items()},
            **{f"single_{name}": value for name, value in single.items()},
            **compare(read_vectors(target), expected),
        }


def _loaded(load: Load, texts: Texts, per_request: int, clients: int) -> dict[str, float]:
    """Put one closed-loop load on a server; returns its figures and what the server used."""
    server = load.running
    before = proctree.cpu_s(server.process.pid)
    figures = load.closed(texts, per_request=per_request, clients=clients, most_s=LOAD_S)
    used = proctree.cpu_s(server.process.pid) - before
    missing = figures["requests"] - figures["answered"]
    if missing > _MOST_MISSING * figures["requests"]:
        raise ServerFailed(f"{server.server.name} did not answer {missing:.0f} of {figures['requests']:.0f} requests")
    return {
        "missing": missing,
        "tokens_per_s": figures["tokens_per_s"],
        "p50_s": figures["p50_s"],
        "p99_s": figures["p99_s"],
        "cpu_s_per_million_tokens": used / figures["tokens"] * 1e6,
        "pss_bytes": float(proctree.pss_bytes(server.process.pid)),
        "generator_cpu_share": figures["generator_cpu_share"],
    }


def _of(figures: dict[str, Any], name: str) -> float:
    """Return a figure that is there only if something was answered."""
    if name not in figures:
        raise ServerFailed(f"nothing was answered within {REQUEST_LIMIT_S:.0f} s")
    return float(figures[name])


def _measure_ceiling(run: Run, generator: Worker, texts: Texts) -> None:
    """Measure what the generator reaches with a server that does nothing, on both loads."""
    for title, (per_request, clients) in (("32 texts a request", BATCH), ("single texts", SINGLE)):
        if run.results.has(CEILING, title, 0):
            continue
        with running_trivial(_ANSWER_BYTES * per_request // BATCH[0]) as port:
            target = {"port": port, "path": "/", "dialect": "texts", "per_request": per_request, "limit_s": 30.0}
            files = {"texts": str(texts.texts), "tokens": str(texts.tokens), "count": texts.count}
            figures = generator.ask("closed", within_s=120.0, clients=clients, most_s=None, **target, **files)
        say(f"the load generator's own limit, {title}: {figures['tokens_per_s']:,.0f} tokens/s")
        run.results.add(Measurement(CEILING, title, 0, {"tokens_per_s": figures["tokens_per_s"]}))
