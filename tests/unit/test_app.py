import asyncio

import pytest

from headrace import app
from headrace.service import Service


async def test_a_stop_while_models_load_does_not_wait_for_them():
    stop, was_cancelled = asyncio.Event(), asyncio.Event()

    async def load() -> Service:
        try:
            await asyncio.sleep(60)
        finally:
            was_cancelled.set()
        raise AssertionError("must have been cancelled")

    loading = asyncio.ensure_future(load())
    asyncio.get_running_loop().call_later(0.01, stop.set)
    async with asyncio.timeout(5):
        assert await app._unless(stop, loading) is None
    assert was_cancelled.is_set()


async def test_what_keeps_models_from_loading_is_told():
    async def load() -> Service:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await app._unless(asyncio.Event(), asyncio.ensure_future(load()))
