"""A Redis server of its own, on a free port of the loopback interface, from the program that is installed."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

_START_LIMIT_S = 30
PATIENT_S = 10.0  # for whoever asks a server that is there, on a machine that may be busy


class RedisServer:
    """The server, which can be stopped and started again, and then remembers nothing."""

    def __init__(self, folder: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("Redis is not installed; on Debian: apt-get install redis-server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", folder]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, unless it runs, and wait until it answers."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
            self._wait()

    def stop(self) -> None:
        """End it, with all connections."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_START_LIMIT_S)
            self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
                else:
                    return


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Give a server that runs."""
    with tempfile.TemporaryDirectory(prefix="headrace-redis-") as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
