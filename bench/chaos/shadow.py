"""The part `shadow`: the tail of short texts while a version is in the shadow of the one that answers, and without.

A p99 of ten seconds has a spread of a third on a shared machine, and the machine itself changes in a minute. So there
are many pairs of turns, each with the same requests at the same times; which of both is first changes from pair to
pair. The median of the ratios has an interval from resampling the pairs: it tells whether there were enough of them.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from bench.chaos.clients import LIMIT_S
from bench.chaos.promise import Promise
from bench.chaos.swaps import make_versions
from bench.load import SHORT_TOKENS, Arrivals, Load, Texts, mingled, probe, running_generator
from bench.model import NAME, Model
from bench.progress import say
from bench.server import Running, read_servers, running_server, wait_for_answer
from bench.stats import median_interval, spread
from bench.texts import Mix

PART: Final = "shadow"
ROUNDS: Final = 16
_LOAD: Final = 0.7
_TURN_S: Final = 10.0
_CAPACITY_S: Final = 5.0
_MOST: Final = 1.05


def run_shadow(model: Model, mix: Mix, rounds: int = ROUNDS) -> list[Promise]:
    """Measure the tail of the short texts with a shadow and without."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home:
        versions = make_versions(model, Path(home))
        served = replace(model, home=Path(home))
        with running_server(read_servers(["headrace"])[0], served) as running:
            wait_for_answer(running, probe(running))
            return [promise(_ratios(running, served, versions, mix, rounds))]


def _ratios(running: Running, model: Model, versions: Sequence[str], mix: Mix, rounds: int) -> list[float]:
    """Return how many times as long the p99 is with a shadow, in each pair of turns."""
    place = f"http://127.0.0.1:{running.port}/api/v1/models/{NAME}/candidate"
    body: dict[str, Any] = {"revision": versions[1], "kind": "shadow", "share": 1.0}
    found = []
    with running_generator() as generator, httpx.Client(timeout=LIMIT_S) as admin:
        load, short = Load(generator, running), mingled(mix, model.window, 0.0, 0)
        rate = _LOAD * _capacity_per_s(load, short)
        for number in range(rounds):
            p99_s = {}
            for is_shadowed in (False, True) if number % 2 == 0 else (True, False):
                if is_shadowed:
                    admin.put(place, json=body).raise_for_status()
                p99_s[is_shadowed] = _p99_s(load, short, rate, number)
                if is_shadowed:
                    admin.delete(place).raise_for_status()
            found.append(p99_s[True] / p99_s[False])
            say(f"  p99 {p99_s[False] * 1000:.1f} ms, with a shadow {p99_s[True] * 1000:.1f} ms")
    return found


def _capacity_per_s(load: Load, texts: Texts) -> float:
    figures = load.closed(texts, per_request=1, clients=32, most_s=_CAPACITY_S)
    return float(figures["answered"] / figures["elapsed_s"])


def _p99_s(load: Load, texts: Texts, rate: float, seed: int) -> float:
    arrivals = Arrivals(rate_per_s=rate, duration_s=_TURN_S, goal_s=1.0, limit_s=10.0, seed=seed)
    return float(load.open(texts, arrivals, per_request=1, short_tokens=SHORT_TOKENS[-1])["short_p99_s"])


def promise(ratios: Sequence[float]) -> Promise:
    """Say whether a shadow keeps out of the way."""
    found, (low, high) = spread(ratios), median_interval(ratios)
    return Promise(
        PART,
        "a shadow makes the p99 of short texts at 70 % load at most 5 % longer",
        f"{found.median:.2f} times as long (95 % interval of this median {low:.2f} to {high:.2f};"
        f" {found.low:.2f} to {found.high:.2f} in {found.count} pairs)",
        found.median <= _MOST,
        {"p99_ratio": found.median, "p99_ratio_low": low, "p99_ratio_high": high, "pairs": float(found.count)},
    )
