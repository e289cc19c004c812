"""A PostgreSQL server of its own, on a free port of the loopback interface, from the programs that are installed."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

USER = "headrace"
_START_LIMIT_S = 60


class PostgresServer:
    """The server, which can be stopped and started again.

    Attributes:
        password: Of its one user.
    """

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_hex(8)
        self._programs = _find_programs()
        self._data = folder / "data"
        # PostgreSQL refuses to run as root; Debian's package makes this user.
        self._user = "postgres" if os.geteuid() == 0 else None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o755)
        self._data.mkdir(mode=0o700)
        word = folder / "password"
        word.write_text(self.password)
        if self._user:
            shutil.chown(self._data, self._user)
            shutil.chown(word, self._user)
        command = ["initdb", "-D", str(self._data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={word}", "-N", "-E"]
        subprocess.run(
            [self._programs / command[0], *command[1:], "UTF8"], check=True, capture_output=True, **self._as()
        )

    def _as(self) -> dict[str, Any]:
        return {"user": self._user, "cwd": "/"} if self._user else {}

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {"port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", str(self._data), *options], stderr=subprocess.DEVNULL, **self._as()
        )
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """End it, with all connections."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: at once, and in order
            self._process.wait(_START_LIMIT_S)
            self._process = None

    def make_database(self) -> str:
        """Return the URL of a new database."""
        name = f"d{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self._port}/{database}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Give a server that runs."""
    # Not in a folder of pytest's: those are for one user alone, and the server is another one.
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _find_programs() -> Path:
    """Return the folder of PostgreSQL's programs: Debian keeps those of the server out of the path."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise RuntimeError("PostgreSQL's server is not installed; on Debian: apt-get install postgresql")
