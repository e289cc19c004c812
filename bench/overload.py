"""The part `overload`: more than a server can do, and what becomes of the requests, the memory and the server.

An open loop: requests come at the times decided beforehand, as from callers who do not know of each other, and
a latency begins when the request should have been sent.
"""

from typing import Final

from bench import proctree
from bench.environments import EnvironmentUnusable
from bench.http import SINGLE
from bench.load import Load, first, probe, running_generator
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.server import Server, ServerFailed, read_servers, running_server, wait_for_answer
from bench.worker import LOGS, Worker, WorkerFailed

PART: Final = "overload"
FACTORS: Final = (2, 5, 10)
_DURATION_S: Final = 15.0
_GOAL_S: Final = 1.0  # an answer that takes longer is of no use to somebody who waits for it
_LIMIT_S: Final = 10.0  # and after this nobody waits any more
_CAPACITY_TEXTS: Final = 1024
_WARM_UP: Final = 64
# Above it the generator and the server fight for the cores, and the load is no longer the one that was asked for.
_MAX_RATE_PER_S: Final = 4000.0


def run_overload(run: Run) -> None:
    """Overload every server as it comes, once at each factor; one that does not survive is left out from there."""
    with running_generator() as generator:
        for server in read_servers(run.servers):
            name = f"{server.name}, overload"
            if server.column != "as_it_comes" or server.name in run.results.left_out or name in run.results.left_out:
                continue
            if all(run.results.has(PART, f"{server.title}, {factor} x", 0) for factor in FACTORS):
                continue
            try:
                _overload(run, server, generator)
            except (EnvironmentUnusable, ServerFailed, WorkerFailed) as error:
                say(f"leaving out {name}: {error}")
                run.results.leave_out(name, str(error))


def _overload(run: Run, server: Server, generator: Worker) -> None:
    with running_server(server, run.model) as running:
        wait_for_answer(running, probe(running))
        load = Load(generator, running)
        load.closed(first(run.mix, _WARM_UP), per_request=1, clients=SINGLE[1])
        capacity = load.closed(first(run.mix, _CAPACITY_TEXTS), per_request=1, clients=SINGLE[1])
        per_s = capacity["answered"] / capacity["elapsed_s"]
        if not per_s:
            raise ServerFailed(f"{server.name} answered nothing before the overload began")
        say(f"{server.name}: {per_s:.0f} requests/s are its capacity")
        for factor in FACTORS:
            rate = min(factor * per_s, _MAX_RATE_PER_S)
            before = proctree.pss_bytes(running.process.pid)
            every = first(run.mix, len(run.mix.texts))
            figures = load.open(every, rate_per_s=rate, duration_s=_DURATION_S, goal_s=_GOAL_S, limit_s=_LIMIT_S)
            memory = {"pss_before_bytes": float(before), "pss_bytes": float(proctree.pss_bytes(running.process.pid))}
            context = {"capacity_per_s": per_s, "capacity_tokens_per_s": capacity["tokens_per_s"], "rate_per_s": rate}
            run.results.add(Measurement(PART, f"{server.title}, {factor} x", 0, {**figures, **memory, **context}))
            if running.process.poll() is not None:
                raise ServerFailed(f"{server.name} died at {factor} times its capacity; see {LOGS}/{running.log.name}")
            good, recovery_s = figures["good_tokens_per_s"], figures["recovery_s"]
            say(f"  {factor} x: {good:,.0f} good tokens/s, recovered in {recovery_s:.2f} s")
