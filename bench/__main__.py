"""Run the benchmarks.

Usage: python -m bench [--quick] [--parts PART ...] [--servers NAME ...] [--rounds N] [--texts N]
                       [--resume FILE] [--report FILE]
"""

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.facts import machine_facts, revision, versions
from bench.http import run_http
from bench.interrupt import interrupt_on_terminate
from bench.limits import run_limits
from bench.model import prepare_model
from bench.offline import run_offline
from bench.overload import run_overload
from bench.places import RESULTS
from bench.progress import say
from bench.report import render, write_report
from bench.results import Results, ResultsMismatch, file_name, read_results, require_same
from bench.run import Run
from bench.server import server_names
from bench.tail import run_tail
from bench.texts import make_mix

_SEED: Final = 20_260_101
_CHECKED: Final = 500
_INTERRUPTED: Final = 130  # what a shell gives for Ctrl-C
PARTS: Final[Mapping[str, Callable[[Run], None]]] = {
    "limits": run_limits,
    "offline": run_offline,
    "http": run_http,
    "overload": run_overload,
    "tail": run_tail,
}
_QUICK: Final = ("limits", "offline")


def main() -> int:
    """Run what was asked for; returns the exit code."""
    asked = parse_arguments(sys.argv[1:])
    if asked.report:
        write_report(read_results(asked.report))
        return 0
    interrupt_on_terminate()
    run = prepare(asked)
    say(f"results go to {run.results.path}")
    try:
        for part in asked.parts:
            PARTS[part](run)
    except BaseException as error:
        say(f"stopped by {type(error).__name__}; what was measured is kept. Continue with the same command and")
        say(f"  --resume {run.results.path}")
        if isinstance(error, KeyboardInterrupt):
            return _INTERRUPTED
        raise
    run.results.about["versions"] = versions()
    run.results.save()
    print("\n".join(render(run.results, plots=None)))
    if set(asked.parts) == set(PARTS) and not asked.quick:
        write_report(run.results)
    return 0


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Headrace beside others, here.")
    parser.add_argument("--quick", action="store_true", help="limits, Headrace and the plain runtimes: 3 minutes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="which parts; default: all, or the quick ones")
    parser.add_argument("--rounds", type=_positive, help="times that everything is measured; default 5, quick 3")
    parser.add_argument("--texts", type=_positive, help="texts of the mix; default 4096, quick 512")
    names = server_names()
    parser.add_argument("--servers", nargs="+", choices=names, default=names, help="which servers; default: all")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="continue the run whose results these are")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="only write the page and docs/benchmarks.md from these results"
    )
    asked = parser.parse_args(arguments)
    asked.parts = asked.parts or list(_QUICK if asked.quick else PARTS)
    asked.rounds = asked.rounds or (3 if asked.quick else 5)
    asked.texts = asked.texts or (512 if asked.quick else 4096)
    return asked


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    return number


def prepare(asked: argparse.Namespace) -> Run:
    """Fetch model and texts, describe the machine, and open the results."""
    machine = machine_facts()
    model = prepare_model()
    mix = make_mix(asked.texts, _SEED, model.folder / "tokenizer.json", model.window)
    lengths = ", ".join(f"{name} {value:.0f}" for name, value in mix.lengths().items())
    say(f"{len(mix.texts)} texts, {mix.tokens:,} tokens; lengths: {lengths}")
    identity = {
        "cpu": machine["cpu_model"],
        "cpus": machine["cpus"],
        "model": model.revision,
        "texts": mix.sha256,
        "commit": revision(),
        "is_quick": asked.quick,
    }
    results = open_results(asked.resume, identity)
    results.about.update(
        machine=machine,
        date=results.about.get("date") or dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        flop_per_token=model.flop_per_token,
        texts={"count": len(mix.texts), "tokens": mix.tokens, "lengths": mix.lengths(), "note": mix.note},
        rounds=asked.rounds,
        checked=min(_CHECKED, len(mix.texts)),
    )
    return Run(
        model=model,
        mix=mix,
        results=results,
        threads=machine["threads"],
        rounds=asked.rounds,
        is_quick=asked.quick,
        checked=min(_CHECKED, len(mix.texts)),
        servers=tuple(asked.servers),
    )


def open_results(resume: Path | None, identity: dict[str, Any]) -> Results:
    """Return the results to add to: those of a run that is continued, or new ones.

    Raises:
        ResultsMismatch: The run that is to be continued had another machine, model, text or code.
    """
    if resume:
        kept = read_results(resume)
        require_same(kept.identity, identity)
        return kept
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d-%H%M%S")
    path = RESULTS / file_name(now, f"{identity['cpu']}{' quick' if identity['is_quick'] else ''}")
    return Results(path, identity, {})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ResultsMismatch as error:
        sys.exit(f"bench: {error}")
