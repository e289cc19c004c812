"""The part `overload`: more than a server can do, and what becomes of the requests, the memory and the server.

An open loop: requests come at the times decided beforehand, as from callers who do not know of each other, and
a latency begins when the request should have been sent.
"""

from typing import Final

from bench import proctree
from bench.environments import EnvironmentUnusable
from bench.facts import own_precisions
from bench.http import BATCH, LOAD_S, SINGLE
from bench.load import MAX_RATE_PER_S, Arrivals, Load, first, probe, running_generator
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.server import Running, Server, ServerFailed, read_servers, runnable, running_server, wait_for_answer
from bench.worker import LOGS, Worker, WorkerFailed

PART: Final = "overload"
FACTORS: Final = (2, 5, 10)
SIZES: Final = (SINGLE, BATCH)
_DURATION_S: Final = 15.0
_GOAL_S: Final = 1.0  # an answer that takes longer is of no use to somebody who waits for it
_LIMIT_S: Final = 10.0  # and after this nobody waits any more
_CAPACITY_TEXTS: Final = 1024
_WARM_UP: Final = 64


def run_overload(run: Run) -> None:
    """Overload every server as it comes, in interleaved rounds; one that does not survive is left out from there."""
    with running_generator() as generator:
        for number in range(run.rounds):
            for server in runnable(read_servers(run.servers), own_precisions()):
                if not _is_wanted(run, server, number):
                    continue
                say(f"overload, round {number + 1} of {run.rounds}: {server.title}")
                try:
                    _overload(run, server, generator, number)
                except (EnvironmentUnusable, ServerFailed, WorkerFailed) as error:
                    say(f"leaving out {_name(server)}: {error}")
                    run.results.leave_out(_name(server), str(error))


def candidate(title: str, per_request: int, factor: int) -> str:
    """Return the name of one load on one server."""
    return f"{title}, {per_request} {'text' if per_request == 1 else 'texts'}, {factor} x"


def _name(server: Server) -> str:
    return f"{server.title}, overload"


def _is_wanted(run: Run, server: Server, number: int) -> bool:
    if server.column != "as_it_comes" or {server.name, _name(server)} & run.results.left_out.keys():
        return False
    return not all(_is_measured(run, server, per_request, number) for per_request, _ in SIZES)


def _is_measured(run: Run, server: Server, per_request: int, number: int) -> bool:
    return all(run.results.has(PART, candidate(server.title, per_request, factor), number) for factor in FACTORS)


def _overload(run: Run, server: Server, generator: Worker, number: int) -> None:
    with running_server(server, run.model) as running:
        wait_for_answer(running, probe(running))
        load = Load(generator, running)
        for per_request, clients in SIZES:
            if _is_measured(run, server, per_request, number):
                continue
            load.closed(first(run.mix, _WARM_UP), per_request=per_request, clients=clients)
            before = _capacity(run, load, per_request, clients)
            _require_answers(running, before, "before the overload began")
            for factor in FACTORS:
                figures = _exceed(run, load, per_request, factor * before["capacity_per_s"])
                after = _capacity(run, load, per_request, clients)
                values = {**figures, **_beside(figures, before, after, run.threads)}
                run.results.add(Measurement(PART, candidate(server.title, per_request, factor), number, values))
                say(f"  {factor} x: {values['good_share']:.0%} of it, recovered in {values['recovery_s']:.2f} s")
                _require_answers(running, after, f"after {factor} times its capacity")
                before = after


def _require_answers(running: Running, capacity: dict[str, float], when: str) -> None:
    if running.process.poll() is not None:
        raise ServerFailed(f"{running.server.name} died {when}; see {LOGS}/{running.log.name}")
    if not capacity["capacity_per_s"]:
        raise ServerFailed(f"{running.server.name} answered nothing {when}")


def _beside(
    figures: dict[str, float], before: dict[str, float], after: dict[str, float], cores: int
) -> dict[str, float]:
    """Compare an overload with the capacity just before it and just after: a shared machine changes within a minute."""
    if not after["capacity_per_s"]:  # it did not survive
        after = before
    capacity = {name: (before[name] + after[name]) / 2 for name in before}
    good_share = figures["good_tokens_per_s"] / capacity["capacity_tokens_per_s"]
    # The generator sends ten times as much on the same cores; what it takes the server does not have.
    had, has = (cores - each for each in (capacity["capacity_generator_cpu_share"], figures["generator_cpu_share"]))
    return {**capacity, "good_share": good_share, "good_share_left": good_share * had / has}


def _capacity(run: Run, load: Load, per_request: int, clients: int) -> dict[str, float]:
    """Measure what the server answers to clients that wait for their answers, with requests of the same size."""
    texts = first(run.mix, _CAPACITY_TEXTS)
    figures = load.closed(texts, per_request=per_request, clients=clients, most_s=LOAD_S)
    per_s = figures["answered"] / figures["elapsed_s"]
    name = load.running.server.name
    say(f"{name}: {per_s:.0f} requests/s of {per_request} are its capacity, {figures['tokens_per_s']:,.0f} tokens/s")
    return {
        "capacity_per_s": per_s,
        "capacity_tokens_per_s": figures["tokens_per_s"],
        "capacity_generator_cpu_share": figures["generator_cpu_share"],
    }


def _exceed(run: Run, load: Load, per_request: int, per_s: float) -> dict[str, float]:
    """Send more than the server can do, and return what became of it."""
    rate = min(per_s, MAX_RATE_PER_S)
    before = proctree.pss_bytes(load.running.process.pid)
    arrivals = Arrivals(rate_per_s=rate, duration_s=_DURATION_S, goal_s=_GOAL_S, limit_s=_LIMIT_S)
    figures = load.open(first(run.mix, len(run.mix.texts)), arrivals, per_request=per_request)
    after = proctree.pss_bytes(load.running.process.pid)
    return {**figures, "rate_per_s": rate, "pss_before_bytes": float(before), "pss_bytes": float(after)}
