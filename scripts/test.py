"""Run all tests on all cores; with branch coverage too if wanted, and then fail below its gate.

Coverage takes 1.75 times as long: it is told of each line, in each process.

Usage: python scripts/test.py [--coverage] [PYTEST ARGUMENT...]
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from headrace.machine import read_machine

ROOT = Path(__file__).resolve().parents[1]
SERVERS: Final[Mapping[str, Callable[[], bool]]] = {
    "postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb") is not None,
    "redis-server": lambda: shutil.which("redis-server") is not None,
}
"""Debian's packages, and whether each is there."""


def run(*command: str) -> int:
    """Run a Python module of this environment, in the project's folder."""
    # The tests start hundreds of processes. Where none may keep what it compiled, as in many images, each compiles all
    # that it imports, and the tests that start servers take 1.6 times as long.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=False).returncode


def _what_can_run() -> str:
    """Return which tests to run: those that need real servers too, if these are installed."""
    missing = [name for name, is_there in SERVERS.items() if not is_there()]
    if not missing:
        return "not clients"
    print(f"tests of real servers are left out, since these are not installed: {', '.join(missing)}", flush=True)
    return "not connected and not clients"


def main(arguments: list[str]) -> int:
    """Run the tests, then the coverage report if it is wanted; the exit code is the first that is not 0."""
    parser = argparse.ArgumentParser(prog="python scripts/test.py", description="Run all tests.")
    parser.add_argument("--coverage", action="store_true", help="measure branch coverage, and fail below its gate")
    asked, rest = parser.parse_known_args(arguments)
    print("== tests", flush=True)
    cores = str(read_machine().threads)
    chosen = ("-q", "--durations=5", *(rest or ["-m", _what_can_run(), "-n", cores, "--dist", "loadgroup"]))
    if not asked.coverage:
        return run("pytest", *chosen)
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    failed = run("coverage", "run", "-m", "pytest", *chosen)
    print("== coverage", flush=True)
    run("coverage", "combine", "--quiet")
    uncovered = run("coverage", "report")
    return failed or uncovered


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
