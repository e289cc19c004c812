"""Many tenants and one Redis: whatever is cancelled, slow or away, nobody gets a byte of another."""

import asyncio
import random
from collections.abc import Iterator
from typing import Final

import pytest
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import RedisServer, redis_server

from headrace.cache.base import make_key, seal, unseal
from headrace.cache.redis import RedisCache
from headrace.redis import RedisLink

pytestmark = pytest.mark.connected

TENANTS: Final = 100
TEXTS: Final = 10  # that all of them ask about
AT_ONCE: Final = 8
CALLS: Final = 20
ROUNDS: Final = 60
ENOUGH: Final = 1000  # values found while Redis was disturbed


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def key_of(tenant: str, text: int) -> bytes:
    return make_key(revision="r", task="embed", options="", scope=tenant, texts=[str(text)])


async def use_as_tenant(cache: RedisCache, tenant: str, calls: int, chance: random.Random) -> tuple[int, int]:
    """Ask and put as one tenant, and give up every third time; returns how many keys were asked for, and found.

    Raises:
        AssertionError: Something came back that this tenant did not put.
    """
    asked = found = 0
    for _ in range(calls):
        keys = [key_of(tenant, text) for text in chance.sample(range(TEXTS), AT_ONCE)]
        task = asyncio.create_task(cache.get_many(keys))
        if chance.random() < 1 / 3:
            await asyncio.sleep(chance.random() * 0.002)
            task.cancel()
        (entries,) = await asyncio.gather(task, return_exceptions=True)
        asked += len(keys)
        if isinstance(entries, asyncio.CancelledError):
            continue
        assert not isinstance(entries, BaseException)
        for key, entry in zip(keys, entries, strict=True):
            if isinstance(entry, bytes):
                assert unseal(key, entry) == tenant.encode(), "a value of somebody else"
                found += 1
        await cache.put_many({key: seal(key, tenant.encode()) for key in keys[:2]})
    return asked, found


async def use_as_all(port: int, calls: int, seed: int) -> tuple[int, int]:
    """Use one cache as all tenants at once; returns how many keys were asked for, and found in Redis."""
    link = RedisLink(f"redis://127.0.0.1:{port}", 1.0)
    cache = RedisCache(link, 60)
    chances = [random.Random(f"{seed}-{number}") for number in range(TENANTS)]
    counts = await asyncio.gather(
        *(use_as_tenant(cache, f"tenant-{number}", calls, chance) for number, chance in enumerate(chances))
    )
    await cache.aclose()
    await link.aclose()
    return sum(asked for asked, _ in counts), sum(found for _, found in counts)


async def _disturb(proxy: Proxy) -> None:
    while True:
        for fault in ("none", "slow", "none", "refuse"):
            proxy.break_with(fault)
            await asyncio.sleep(0.3)


async def test_nobody_gets_a_byte_of_another(server: RedisServer):
    asked, found = await use_as_all(server.port, CALLS, seed=1)
    assert asked == TENANTS * CALLS * AT_ONCE
    assert found > asked / 10  # else nothing was shown


async def test_nor_while_redis_is_slow_and_hangs_up(server: RedisServer):
    async with proxy_to(server.port) as proxy:
        disturbing = asyncio.create_task(_disturb(proxy))
        found = 0
        # On a busy machine all calls of one round may fall into the second in which Redis is not asked.
        for seed in range(2, 2 + ROUNDS):
            found += (await use_as_all(proxy.port, CALLS, seed))[1]
            if found >= ENOUGH:
                break
        disturbing.cancel()
    assert found >= ENOUGH  # else nothing was shown
