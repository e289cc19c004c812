"""A loop in a thread: what is waited for ends, whoever closes it when."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.background import Background
from headrace.errors import ServiceStopping


async def nothing() -> None:
    pass


async def test_it_is_asked_also_where_a_loop_runs():
    background = Background("test")
    assert background.wait(lambda: asyncio.sleep(0, 7)) == 7
    background.close(nothing)


def test_an_error_comes_to_whoever_waits():
    async def fail() -> None:
        raise KeyError("a")

    background = Background("test")
    with pytest.raises(KeyError):
        background.wait(fail)
    with pytest.raises(KeyError):
        background.close(fail)
    background.close(nothing)


@pytest.mark.parametrize("_round", range(50))
def test_closing_resolves_whoever_waits(_round: int):
    background, begun = Background("test"), threading.Barrier(5)
    done = []

    async def last() -> None:
        done.append(threading.current_thread().name)

    def wait() -> None:
        begun.wait()
        background.wait(lambda: asyncio.sleep(60))

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait) for _ in range(4)]
        begun.wait()
        background.close(last)
        background.close(last)
        for each in waiting:
            with pytest.raises(ServiceStopping):
                each.result(20)
    assert done == ["test"]
    assert "test" not in {thread.name for thread in threading.enumerate()}


def test_it_may_be_closed_from_its_own_thread():
    background = Background("test")

    async def close() -> None:
        background.close(nothing)
        await asyncio.sleep(60)

    with pytest.raises(ServiceStopping):
        background.wait(close)
