"""Break what is served on purpose, and say whether the promises hold.

Usage: python -m bench.chaos [--parts PART ...] [--share SHARE]
"""

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.chaos import cancels, cost, kills, poison, shadow, swaps
from bench.chaos.engine import Stage
from bench.chaos.promise import Promise, promise_table
from bench.facts import machine_facts, revision
from bench.interrupt import interrupt_on_terminate
from bench.model import Model, prepare_model
from bench.places import RESULTS
from bench.progress import say
from bench.results import Measurement, Results, file_name
from bench.texts import Mix, make_mix

_SEED: Final = 20_260_102
_MIX: Final = 1024
_TEXTS: Final = 200
_TOKENS: Final = range(6, 25)  # short, so that many batches take minutes and not hours


@dataclass(frozen=True, slots=True)
class Setup:
    """What the parts are given.

    Attributes:
        share: Of all counts; below 1 to try the program out.
    """

    model: Model
    stage: Stage
    mix: Mix
    share: float

    def scaled(self, count: int, least: int = 1) -> int:
        """Return the share of a count."""
        return max(least, round(self.share * count))


def _poison(setup: Setup) -> list[Promise]:
    crash_every = max(1, min(poison.CRASH_EVERY, setup.scaled(poison.BATCHES)))
    return poison.run_poison(setup.stage, setup.scaled(poison.BATCHES), crash_every)


PARTS: Final[Mapping[str, Callable[[Setup], list[Promise]]]] = {
    poison.PART: _poison,
    kills.PART: lambda setup: kills.run_kills(setup.model, setup.stage.texts, setup.scaled(kills.KILLS)),
    cancels.PART: lambda setup: cancels.run_cancels(setup.stage, setup.scaled(cancels.REQUESTS)),
    swaps.PART: lambda setup: swaps.run_swaps(setup.model, setup.stage.texts, setup.scaled(swaps.SWAPS, least=10)),
    shadow.PART: lambda setup: shadow.run_shadow(setup.model, setup.mix, setup.scaled(shadow.ROUNDS)),
    cost.PART: lambda setup: cost.run_cost(setup.model, setup.scaled(cost.ROUNDS, least=5)),
}


def main() -> int:
    """Run the parts that were asked for; returns 1 if a promise is broken."""
    asked = parse_arguments(sys.argv[1:])
    interrupt_on_terminate()
    setup = prepare(asked.share)
    results = open_results(setup, asked.share)
    say(f"results go to {results.path}")
    promises: list[Promise] = []
    for part in asked.parts:
        for promise in PARTS[part](setup):
            promises.append(promise)
            kept = {"is_kept": float(promise.is_kept)}
            results.add(Measurement(f"chaos {part}", promise.name, 0, {**promise.values, **kept}))
    print("\n".join(promise_table(promises)))
    return int(not all(promise.is_kept for promise in promises))


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description="Break what is served on purpose.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which parts; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="of all counts; below 1 only to try it; default 1")
    return parser.parse_args(arguments)


def prepare(share: float) -> Setup:
    """Fetch model and texts."""
    model = prepare_model()
    mix = make_mix(_MIX, _SEED, model.folder / "tokenizer.json", model.window)
    texts = [text.text for text in mix.texts if text.tokens in _TOKENS][:_TEXTS]
    return Setup(model, Stage(model.folder, texts, long="water " * (2 * model.window)), mix, share)


def open_results(setup: Setup, share: float) -> Results:
    """Return the results of this run, still empty."""
    now = dt.datetime.now(dt.UTC)
    machine = machine_facts()
    identity = {"cpu": machine["cpu_model"], "model": setup.model.revision, "commit": revision(), "share": share}
    path = RESULTS / file_name(now.strftime("%Y-%m-%d-%H%M%S"), f"{machine['cpu_model']} chaos")
    return Results(path, identity, {"machine": machine, "date": now.strftime("%Y-%m-%d")})


if __name__ == "__main__":
    sys.exit(main())
