"""Says what one tenant notices of another that asks for ten times what the server can do.

Usage: python -m bench.tenants [--rounds N] [--seconds N]

Somebody asks for a tenth of what the server can do: alone, beside somebody of the same tenant who asks for ten times as
much as it can, and beside somebody of another tenant who does. The second is what all would notice if nothing were
shared fairly.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.interrupt import interrupt_on_terminate
from bench.load import MAX_RATE_PER_S, Arrivals, Load, Texts, first, probe, running_generator
from bench.model import Model, prepare_model
from bench.progress import say
from bench.server import read_servers, running_server, wait_for_answer
from bench.stats import spread
from bench.tables import spell, table
from bench.texts import make_mix
from bench.worker import clean_variables

_ROUNDS: Final = 3
_SECONDS: Final = 10.0
_TEXTS: Final = 2000
_SEED: Final = 0
_WARM_UP: Final = 1500
_CLIENTS: Final = 16
_FLOOD: Final = 10.0
_OWN: Final = 0.1
_LIMIT_S: Final = 10.0
_MS: Final = 1000
_HEADER: Final = ("Asks for a tenth", "p50, ms", "p99, ms", "Answered", "Refused", "Failed", "All answers, of capacity")
_ALONE: Final = "alone"
_FLOODS: Final = {"beside a flood of the same tenant": "same", "beside a flood of another tenant": "other"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody noticed.

    Attributes:
        share: Texts of all that were answered, of those that the server answers a second when it is kept busy.
    """

    p50_s: float
    p99_s: float
    answered: float
    refused: float
    failed: float
    share: float


@contextlib.contextmanager
def home_with_keys(model: Model) -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a data folder with the same models and records of its own, and a key for each who asks."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        for name in ("models", "plans"):
            if (model.home / name).is_dir():
                (home / name).symlink_to(model.home / name)
        yield home, {name: _make_key(home, name) for name in ("own", "same", "other")}


def _make_key(home: Path, name: str) -> str:
    tenant = "other" if name == "other" else "own"
    words = ["keys", "create", name, "--tenant", tenant, "--home", str(home), "--json"]
    command = [sys.executable, "-m", "headrace", *words]
    done = subprocess.run(command, env=clean_variables(), capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["key"])


def measure(own: Load, flood: Load | None, texts: Texts, capacity: float, seconds: float, seed: int) -> Seen:
    """Put the load of one, and the flood of another, on a server at the same time."""

    def send(load: Load, factor: float, number: int) -> dict[str, Any]:
        rate = min(factor * capacity, MAX_RATE_PER_S)
        arrivals = Arrivals(rate_per_s=rate, duration_s=seconds, goal_s=_LIMIT_S, limit_s=_LIMIT_S, seed=number)
        return load.open(texts, arrivals, per_request=1)

    with ThreadPoolExecutor(2) as pool:
        flooding = pool.submit(send, flood, _FLOOD, seed + 1000) if flood else None
        figures = send(own, _OWN, seed)
        others = flooding.result()["answered"] if flooding else 0.0
    noticed = {name: figures[name] for name in ("p50_s", "p99_s", "answered", "refused", "failed")}
    return Seen(**noticed, share=(figures["answered"] + others) / (capacity * seconds))


def run_round(loads: dict[str, Load], texts: Texts, seconds: float, seed: int) -> dict[str, Seen]:
    """Measure each case once."""
    warm = loads["own"].closed(replace(texts, count=_WARM_UP), per_request=1, clients=_CLIENTS)
    capacity = warm["answered"] / warm["elapsed_s"]
    found = {_ALONE: measure(loads["own"], None, texts, capacity, seconds, seed)}
    for case, who in _FLOODS.items():
        found[case] = measure(loads["own"], loads[who], texts, capacity, seconds, seed)
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.tenants", description="Measure what tenants share.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default {_ROUNDS}")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each load; default {_SECONDS:g}")
    asked = parser.parse_args()
    interrupt_on_terminate()
    model = prepare_model()
    texts = first(make_mix(_TEXTS, _SEED, model.folder / "tokenizer.json", model.window), _TEXTS)
    server = read_servers(["headrace"])[0]
    with home_with_keys(model) as (home, keys), running_server(server, replace(model, home=home)) as running:
        headers = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
        wait_for_answer(running, probe(running, headers["own"]))
        with running_generator() as one, running_generator() as another:
            loads = {name: Load(one if name == "own" else another, running, each) for name, each in headers.items()}
            rounds = []
            for number in range(asked.rounds):
                rounds.append(run_round(loads, texts, asked.seconds, number))
                say(f"round {number + 1} of {asked.rounds}")
    print("\n".join(table(_HEADER, [_row(case, rounds) for case in (_ALONE, *_FLOODS)])))


def _row(case: str, rounds: list[dict[str, Seen]]) -> list[str]:
    seen = [each[case] for each in rounds]
    return [
        case,
        spell(spread([each.p50_s * _MS for each in seen]), 1),
        spell(spread([each.p99_s * _MS for each in seen]), 1),
        *(f"{sum(getattr(each, name) for each in seen):,.0f}" for name in ("answered", "refused", "failed")),
        spell(spread([each.share for each in seen]), 2),
    ]


if __name__ == "__main__":
    main()
