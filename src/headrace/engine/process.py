"""A child process with an engine in it: how it is started, reached and ended."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from headrace.engine.activity import Activity
from headrace.engine.worker import Handles

_KILLED_LIMIT_S: Final = 1.0  # a killed process is gone in milliseconds, unless the disk holds it in the kernel
_POLL_S: Final = 0.002
_SIGNALS: Final = {number.value: number.name for number in signal.Signals}


class EngineProcess:
    """A running child. It can be reached only through the socket it was given: it listens nowhere.

    It must be started by a thread that lives as long as it may: the kernel kills it when that thread ends.

    Args:
        command: The program and its arguments; what it is given stands behind them.
        activity: Where it writes what it works on.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], activity: Activity) -> None:
        ours, other = socket.socketpair()
        self._socket: socket.socket | None = ours
        self._why: str | None = None
        handles = Handles(other.fileno(), activity.handle, activity.slots, activity.max_texts)
        with other:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [*command, *handles.words()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what a library prints belongs into the log, not into the output of a command
                    pass_fds=(other.fileno(), activity.handle),
                )
            except OSError:
                ours.close()
                raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def connect(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Open the stream to it; once, since the stream owns the socket from then on."""
        ours, self._socket = self._socket, None
        await asyncio.get_running_loop().create_unix_connection(make_protocol, sock=ours)

    def kill(self, why: str) -> None:
        """Kill it, and remember why; does nothing if it ended already."""
        if self._process.poll() is None:
            self._why = why
            self._process.kill()

    async def end(self, limit_s: float) -> str:
        """Wait until it has ended, kill it after the limit, and return why it ended.

        Returns:
            What ``kill`` was told if that ended it, else the name of the signal that did, else ``exit``.
        """
        until = time.monotonic() + limit_s
        # It hung up or was killed, so this is a few turns; what the kernel has for it differs between systems.
        while self._process.poll() is None and time.monotonic() < until:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_POLL_S)
        self.reap()
        code = self._process.returncode or 0
        if code == -signal.SIGKILL and self._why is not None:
            return self._why
        return _SIGNALS.get(-code, "exit")

    def reap(self) -> None:
        """Make sure that it is gone, and leave nothing of it behind."""
        self.kill("hang")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILLED_LIMIT_S)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
