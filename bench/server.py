"""A server under test: read from its TOML file, started on a free port, and ended with all its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.environments import environment
from bench.facts import multiplies_bf16
from bench.model import Model
from bench.places import ROOT, cache_folder
from bench.worker import LOGS, clean_variables

_FOLDER: Final = Path(__file__).parent / "servers"
COLUMNS: Final[Mapping[str, str]] = {"as_it_comes": "as it comes", "tuned": "tuned"}
_START_LIMIT_S: Final = 180.0
_OK: Final = 200
_STATUS_BYTES: Final = len(b"HTTP/1.1 200")
_POLL_S: Final = 0.02
_STOP_LIMIT_S: Final = 30.0


class ServerFailed(Exception):
    """A server did not start or stopped answering; the message says which, and where its log is."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server in one column.

    Attributes:
        name: Title and column, as tables show it.
        needs: A precision of ours without which it does not run; nothing if it runs everywhere.
        timeout_header: By which a caller says how many seconds it waits, where the server has one.
        command: Program and arguments, with places like ``{port}`` to fill in.
        variables: Environment variables, with the same places.
        why: What was set, and the reason.
    """

    title: str
    column: str
    environment: str
    dialect: str
    path: str
    needs: str | None
    timeout_header: str | None
    command: tuple[str, ...]
    variables: Mapping[str, str]
    why: tuple[str, ...]

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.title}, {COLUMNS[self.column]}"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started.

    Attributes:
        launched: Point on the monotonic clock.
    """

    server: Server
    process: "subprocess.Popen[bytes]"
    port: int
    launched: float
    log: Path


def server_names(folder: Path = _FOLDER) -> tuple[str, ...]:
    """Return the names of all servers, Headrace first."""
    return tuple(sorted((path.stem for path in folder.glob("*.toml")), key=lambda name: (name != "headrace", name)))


def read_servers(names: Iterable[str], folder: Path = _FOLDER) -> list[Server]:
    """Return the named servers, each in its columns."""
    files = [folder / f"{name}.toml" for name in names]
    return [server for file in files for server in parse_server(tomllib.loads(file.read_text(encoding="utf-8")))]


def runnable(servers: Iterable[Server], computed: Collection[str]) -> list[Server]:
    """Return those of some servers that run where our kernels compute in some precisions."""
    return [server for server in servers if server.needs is None or server.needs in computed]


def parse_server(content: Mapping[str, Any]) -> list[Server]:
    """Return a server in each of its columns; one may have only one of them."""
    return [
        Server(
            title=content["title"],
            column=column,
            environment=content["environment"],
            dialect=content["dialect"],
            path=content["path"],
            needs=content.get("needs"),
            timeout_header=content.get("timeout_header"),
            command=tuple(content[column]["command"]),
            variables=content[column].get("variables", {}),
            why=tuple(content[column]["why"]),
        )
        for column in COLUMNS
        if column in content
    ]


@contextlib.contextmanager
def running_server(server: Server, model: Model) -> Iterator[Running]:
    """Start a server for the length of the block; it may not answer yet.

    Raises:
        EnvironmentUnusable: Its environment cannot be made here.
    """
    made = environment(server.environment)
    ports = free_ports(3)
    log = cache_folder() / LOGS / f"http-{server.environment}-{server.column}.log"
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch, log.open("wb") as output:
        places = {
            "bin": made.bin,
            "home": model.home,
            "checkpoint": model.checkpoint,
            "root": ROOT,
            "scratch": scratch,
            "precision": "bf16" if multiplies_bf16() else "fp32",
            "dtype": "bfloat16" if multiplies_bf16() else "float32",
            "port": ports[0],
            "second_port": ports[1],
            "third_port": ports[2],
        }
        launched = time.monotonic()
        process = subprocess.Popen(
            [word.format(**places) for word in server.command],
            cwd=ROOT,
            env=clean_variables() | {name: value.format(**places) for name, value in server.variables.items()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that all of its processes can be ended together
        )
        try:
            yield Running(server, process, ports[0], launched, log)
        finally:
            end_session(process)


def wait_for_answer(running: Running, request: bytes) -> float:
    """Send a request until it is answered with 200; returns the seconds since the server was launched.

    Raises:
        ServerFailed: It ended, or took too long.
    """
    status = None
    for _ in tries(running.launched + _START_LIMIT_S):
        if running.process.poll() is not None:
            raise ServerFailed(
                f"{running.server.name} ended with {running.process.returncode}; see {LOGS}/{running.log.name}"
            )
        status = ask_once(running.port, request)
        if status == _OK:
            return time.monotonic() - running.launched
    raise ServerFailed(
        f"{running.server.name} did not answer in {_START_LIMIT_S:.0f} s (last status: {status}); "
        f"see {LOGS}/{running.log.name}"
    )


def tries(deadline: float) -> Iterator[None]:
    """Yield again and again until a point on the monotonic clock, a moment apart."""
    while time.monotonic() < deadline:
        yield
        time.sleep(_POLL_S)


def ask_once(port: int, request: bytes) -> int | None:
    """Send a request; returns the answer's status, or nothing if there is no answer."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        words = connection.recv(_STATUS_BYTES, socket.MSG_WAITALL).split(b" ")
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return None


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def end_session(process: "subprocess.Popen[bytes]") -> None:
    """End a process that leads a session, and what it has started."""
    _signal(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_LIMIT_S)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of them have ended
        os.killpg(group, number)
