"""Work that was begun for a client ends with it, and leaves the task that ran it as it was."""

import asyncio

import pytest
from starlette.requests import Request
from tests.support.services import ServiceUnderTest, ask, service_under_test

from headrace.api.rest.disconnect import DISCONNECT_KEY, ClientLeft, Disconnect, while_connected


def nothing() -> None:
    raise AssertionError("must not be called")


def request_of(disconnect: Disconnect | None) -> Request:
    return Request({"type": "http", "state": {} if disconnect is None else {DISCONNECT_KEY: disconnect}})


async def test_work_ends_with_its_client():
    async with service_under_test() as it:
        await leave_in_the_queue(it)


async def leave_in_the_queue(it: ServiceUnderTest) -> None:
    it.backend.gate.clear()
    blocking = asyncio.create_task(it.service.run(ask("a")))
    while not it.backend.batches:
        await asyncio.sleep(0.001)
    disconnect = Disconnect(nothing)
    asyncio.get_running_loop().call_later(0.01, disconnect.happen)
    with pytest.raises(ClientLeft):
        await while_connected(request_of(disconnect), it.service.run(ask("b b b b")))
    it.backend.gate.set()
    await blocking
    assert len(it.backend.batches) == 1


async def test_work_for_a_client_that_has_left_is_not_begun():
    begun = []

    async def work() -> None:
        begun.append(True)

    disconnect = Disconnect(nothing)
    disconnect.happen()
    with pytest.raises(ClientLeft):
        await while_connected(request_of(disconnect), work())
    assert not begun


async def test_work_ends_with_its_request():
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    request = asyncio.create_task(while_connected(request_of(Disconnect(nothing)), work()))
    await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(ended.wait(), 5)


async def test_work_that_runs_out_of_time_did_not_lose_its_client():
    async def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await while_connected(request_of(Disconnect(nothing)), work())


async def test_a_client_may_leave_in_the_moment_in_which_the_work_is_done():
    disconnect, done = Disconnect(nothing), asyncio.Event()

    def both() -> None:
        done.set()
        disconnect.happen()

    asyncio.get_running_loop().call_soon(both)
    with pytest.raises(ClientLeft):
        await while_connected(request_of(disconnect), done.wait())
    await still_runs()


async def test_the_task_goes_on_when_the_client_has_left():
    disconnect = Disconnect(nothing)
    asyncio.get_running_loop().call_soon(disconnect.happen)
    with pytest.raises(ClientLeft):
        await while_connected(request_of(disconnect), asyncio.sleep(60))
    await still_runs()


async def test_a_client_that_leaves_between_two_requests_ends_nothing():
    disconnect = Disconnect(nothing)
    assert await while_connected(request_of(disconnect), asyncio.sleep(0, "done")) == "done"
    disconnect.happen()
    await still_runs()


async def test_a_server_that_does_not_tell_gets_its_answer():
    assert await while_connected(request_of(None), asyncio.sleep(0, "done")) == "done"


async def still_runs() -> None:
    """Fail if the task is to be cancelled, or passes for one that was: then a timeout in it would not be its own."""
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
