import asyncio
import threading

import pytest

from headrace.auth.gate import Gate
from headrace.errors import QueueFull


class Work:
    """Work that waits until it may end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.running = 0

    def __call__(self) -> int:
        self.running += 1
        assert self.may_end.wait(20)
        return self.running


async def until(work: Work, running: int) -> None:
    async with asyncio.timeout(20):
        while work.running < running:
            await asyncio.sleep(0.001)


async def test_few_run_few_wait_and_the_rest_is_refused():
    gate, work = Gate(2, 1), Work()
    tasks = [asyncio.create_task(gate.run(work)) for _ in range(3)]
    await until(work, 2)
    with pytest.raises(QueueFull) as caught:
        await gate.run(work)
    assert caught.value.retry_after_s == 1
    assert work.running == 2
    work.may_end.set()
    assert await asyncio.gather(*tasks)
    assert await gate.run(lambda: 7) == 7


async def test_who_stops_waiting_leaves_work_that_counts():
    gate, work = Gate(1, 0), Work()
    task = asyncio.create_task(gate.run(work))
    await until(work, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(QueueFull):
        await gate.run(work)
    work.may_end.set()
    async with asyncio.timeout(20):
        while gate._inside:
            await asyncio.sleep(0.001)
    assert await gate.run(lambda: 7) == 7


async def test_what_fails_is_told_and_lets_others_in():
    gate = Gate(1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await gate.run(lambda: 1 // 0)
