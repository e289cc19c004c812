"""The part `tail`: how much longer short texts take when a few long ones come among them.

A text of the whole window has the tokens of some 25 short ones, and whoever is in its batch, or behind it, waits for
it. All loads are open loops. Short texts alone come at 70 % of what the server can do; with long ones among them, both
together do; and then long ones come on top of as many short ones, which is more than 70 %.
"""

from dataclasses import replace
from typing import Any, Final

from bench.environments import EnvironmentUnusable
from bench.facts import own_precisions
from bench.http import SINGLE
from bench.load import MAX_RATE_PER_S, SHORT_TOKENS, Arrivals, Load, Texts, mingled, probe, running_generator
from bench.progress import say
from bench.results import Measurement
from bench.run import Run
from bench.server import Server, ServerFailed, read_servers, runnable, running_server, wait_for_answer
from bench.worker import Worker, WorkerFailed

PART: Final = "tail"
LOAD: Final = 0.7  # of the capacity: a usual load, at which a queue is short but not empty
LONG_SHARE: Final = 0.01
_DURATION_S: Final = 15.0
_GOAL_S: Final = 1.0
_LIMIT_S: Final = 10.0
_WARM_UP: Final = 512  # some 5 long ones among them: a server may take memory at its first one
_CAPACITY_S: Final = 5.0


def run_tail(run: Run) -> None:
    """Measure every server as it comes, in interleaved rounds; one that does not run here is left out."""
    with running_generator() as generator:
        for number in range(run.rounds):
            for server in runnable(read_servers(run.servers), own_precisions()):
                if not _is_wanted(run, server, number):
                    continue
                say(f"tail, round {number + 1} of {run.rounds}: {server.title}")
                try:
                    values = _measure(run, server, generator, number)
                except (EnvironmentUnusable, ServerFailed, WorkerFailed) as error:
                    say(f"leaving out {_name(server)}: {error}")
                    run.results.leave_out(_name(server), str(error))
                    continue
                run.results.add(Measurement(PART, server.title, number, values))
                say(f"  p99 of short texts: {values['p99_ratio']:.2f} times as long with long ones among them")


def _name(server: Server) -> str:
    return f"{server.title}, tail"


def _is_wanted(run: Run, server: Server, number: int) -> bool:
    if server.column != "as_it_comes" or run.results.has(PART, server.title, number):
        return False
    return not {server.name, _name(server)} & run.results.left_out.keys()


def _measure(run: Run, server: Server, generator: Worker, number: int) -> dict[str, float]:
    """Start a server, and put short texts on it without long ones, with them, and with them on top."""
    without, mixed = (mingled(run.mix, run.model.window, share, number) for share in (0.0, LONG_SHARE))
    with running_server(server, run.model) as running:
        wait_for_answer(running, probe(running))
        load = Load(generator, running)
        capacity, mixed_capacity = _capacities(load, without, mixed)
        rate, mixed_rate = (min(LOAD * each, MAX_RATE_PER_S) for each in (capacity, mixed_capacity))
        alone = _open(load, without, rate, number)
        among = _open(load, mixed, mixed_rate, number)
        on_top = _open(load, mixed, rate / (1 - LONG_SHARE), number)
    return {
        "capacity_per_s": capacity,
        "rate_per_s": rate,
        "mixed_capacity_per_s": mixed_capacity,
        "mixed_rate_per_s": mixed_rate,
        **{f"without_{name}": value for name, value in alone.items()},
        **{f"with_{name}": value for name, value in among.items()},
        **{f"on_top_{name}": value for name, value in on_top.items()},
        "p99_ratio": among["short_p99_s"] / alone["short_p99_s"],
        "on_top_p99_ratio": on_top["short_p99_s"] / alone["short_p99_s"],
    }


def _capacities(load: Load, without: Texts, mixed: Texts) -> tuple[float, float]:
    """Return the texts a second that are answered to clients who wait for their answers, without long ones and with."""
    warm = _answered_per_s(load, replace(mixed, count=min(_WARM_UP, mixed.count)))
    enough = max(_WARM_UP, round(warm * _CAPACITY_S))
    first, second = (
        _answered_per_s(load, replace(texts, count=min(enough, texts.count))) for texts in (without, mixed)
    )
    return first, second


def _answered_per_s(load: Load, texts: Texts) -> float:
    per_request, clients = SINGLE
    figures = load.closed(texts, per_request=per_request, clients=clients)
    if not figures["answered"]:
        raise ServerFailed(f"{load.running.server.name} answered nothing before the load began")
    return float(figures["answered"] / figures["elapsed_s"])


def _open(load: Load, texts: Texts, rate: float, seed: int) -> dict[str, Any]:
    """Put one open-loop load on a server; returns the figures of all texts, of the short and of the long ones."""
    arrivals = Arrivals(rate_per_s=rate, duration_s=_DURATION_S, goal_s=_GOAL_S, limit_s=_LIMIT_S, seed=seed)
    figures = load.open(texts, arrivals, per_request=1, short_tokens=SHORT_TOKENS[-1])
    if "short_p99_s" not in figures:
        raise ServerFailed(f"{load.running.server.name} answered no short text at {rate:.0f} requests/s")
    return figures
