"""The benchmark's end of a worker: starts it, asks it, and ends it."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from bench.places import ROOT, cache_folder

_END_LIMIT_S: Final = 10.0
LOGS: Final = "logs"  # in the cache; messages name it so, because reports are published and home folders are not
_CHUNK: Final = 1 << 16


class WorkerFailed(Exception):
    """A worker raised, died or took too long; the message says which, and where its log is."""


class Worker:
    """A program that answers commands, running in some environment."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log
        self._received = b""

    def ask(self, command: str, *, within_s: float, **fields: Any) -> dict[str, Any]:
        """Send a command and return the answer.

        Raises:
            WorkerFailed: There is none within ``within_s`` seconds.
        """
        if self.process.stdin is None:
            raise WorkerFailed(f"{self.name} has no standard input")
        try:
            self.process.stdin.write(json.dumps({"command": command, **fields}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerFailed(self._died()) from error
        answer = cast("dict[str, Any]", json.loads(self._read_line(time.monotonic() + within_s, command)))
        if "error" in answer:
            raise WorkerFailed(f"{self.name}: {answer['error']}; see {LOGS}/{self._log.name}")
        return answer

    def _read_line(self, deadline: float, command: str) -> bytes:
        if self.process.stdout is None:
            raise WorkerFailed(f"{self.name} has no standard output")
        handle = self.process.stdout.fileno()
        while b"\n" not in self._received:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise WorkerFailed(f"{self.name} did not answer {command!r} in time; see {LOGS}/{self._log.name}")
            chunk = os.read(handle, _CHUNK)
            if not chunk:
                raise WorkerFailed(self._died())
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _died(self) -> str:
        return f"{self.name} ended with code {self.process.wait()}; see {LOGS}/{self._log.name}"


@contextmanager
def running_worker(
    name: str, python: Path, module: str, arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """Run a worker for the length of the block.

    Args:
        name: For messages and the log's file name.
        python: Interpreter of the environment to run in.
        module: What answers its commands, such as ``bench.workers.limits``.
        arguments: Its command line.
        variables: Added to the environment variables.
    """
    log = cache_folder() / LOGS / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            cwd=ROOT,
            env=clean_variables() | dict(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us to hear: a worker that hears it too looks as if it had failed
        )
    try:
        yield Worker(name, process, log)
    finally:
        end(process)


def clean_variables(*, offline: bool = True) -> dict[str, str]:
    """Return this process's variables without those that would make one machine's run unlike another's.

    Args:
        offline: Forbid downloads: no rival may look for a newer model in the middle of a measurement.
    """
    foreign = (
        "HEADRACE_",
        "OMP_",
        "MKL_",
        "KMP_",
        "OPENBLAS_",
        "GOMP_",
        "PYTHON",
        "VIRTUAL_ENV",
        "BENTOML_",
        "MLSERVER_",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    # Nor may it send usage reports.
    quiet = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    return kept | quiet | ({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else {})


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and make it end if it does not; its pipes are closed."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.terminate()
    try:
        process.wait(_END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
