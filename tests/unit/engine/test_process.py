import asyncio
import signal
import sys

import pytest

from headrace.engine.activity import Activity, make_activity
from headrace.engine.process import EngineProcess


class Ending(asyncio.Protocol):
    """Hears what comes until the end."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.set_result(self.data)


@pytest.fixture
def activity():
    activity = make_activity(1, 1)
    yield activity
    activity.close()


def start(program: str, activity: Activity) -> EngineProcess:
    return EngineProcess([sys.executable, "-S", "-c", f"import os, sys, time; {program}"], activity)


async def test_an_exit_is_an_exit(activity: Activity):
    assert await start("os._exit(3)", activity).end(20) == "exit"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_a_signal_is_named(activity: Activity, number: signal.Signals):
    assert await start(f"os.kill(os.getpid(), {number.value})", activity).end(20) == number.name


async def test_what_does_not_end_is_killed_after_the_limit(activity: Activity):
    assert await start("time.sleep(60)", activity).end(0.01) == "hang"


async def test_who_kills_says_why(activity: Activity):
    process = start("time.sleep(60)", activity)
    process.kill("test")
    assert await process.end(20) == "test"
    process.kill("later")
    assert await process.end(20) == "test"


async def test_the_stream_leads_to_the_process(activity: Activity):
    program = "import socket; socket.socket(fileno=int(sys.argv[-4])).sendall(sys.argv[-1].encode())"
    process = start(program, activity)
    ending = Ending()
    await process.connect(lambda: ending)
    assert await ending.heard == b"1"
    assert await process.end(20) == "exit"


async def test_what_was_never_connected_is_closed_all_the_same(activity: Activity):
    process = start("time.sleep(60)", activity)
    process.reap()
    process.reap()
