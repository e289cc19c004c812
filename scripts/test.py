"""Run all tests with branch coverage, on all cores, and fail below the gate.

Usage: python scripts/test.py [PYTEST ARGUMENT...]
"""

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
    """Run the tests, then the coverage report; the exit code is the first that is not 0."""
    print("== tests", flush=True)
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    cores = str(read_machine().threads)
    chosen = arguments or ["-m", _what_can_run(), "-n", cores, "--dist", "loadgroup"]
    failed = run("coverage", "run", "-m", "pytest", "-q", "--durations=5", *chosen)
    print("== coverage", flush=True)
    run("coverage", "combine", "--quiet")
    uncovered = run("coverage", "report")
    return failed or uncovered


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
