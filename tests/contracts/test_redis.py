"""The adapters to Redis, with a real server."""

import asyncio
import time
from collections.abc import Mapping

import pytest
import structlog
from tests.contracts.limits import demand
from tests.contracts.shared_cache import SharedCacheContract
from tests.support.proxy import Fault, Proxy
from tests.support.redis_server import PATIENT_S

from headrace import redis as link_module
from headrace.cache.base import SharedCache
from headrace.cache.redis import RedisCache
from headrace.limits.memory import MemoryLimiter
from headrace.limits.redis import RedisLimiter
from headrace.redis import RedisAway, RedisLink
from headrace.settings.rules import read_rules

pytestmark = pytest.mark.connected


class TestRedisCache(SharedCacheContract):
    @pytest.fixture(autouse=True)
    def _use(self, link: RedisLink) -> None:
        self.link = link

    def make_replicas(self) -> tuple[RedisCache, RedisCache]:
        return RedisCache(self.link, 60), RedisCache(self.link, 60)

    async def settle(self, cache: SharedCache) -> None:
        assert isinstance(cache, RedisCache)
        await cache.aclose()


class TestRedisCacheWritten(TestRedisCache):
    """All comes from Redis, also what was put just now."""

    def make_replicas(self) -> tuple[RedisCache, RedisCache]:
        return WrittenCache(self.link, 60), WrittenCache(self.link, 60)


class WrittenCache(RedisCache):
    """Waits for its writes."""

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        await super().put_many(entries)
        await self.aclose()


async def test_answers_are_kept_as_long_as_is_said_and_claims_for_a_second(link: RedisLink):
    cache = WrittenCache(link, 60)
    await cache.put_many({b"key": b"value"})
    await cache.get_many([b"none"])
    assert 50 < await link.call(lambda redis: redis.ttl(b"headrace:cache:v2:key")) <= 60
    assert 0 < await link.call(lambda redis: redis.pttl(b"headrace:cache:v2:none")) <= 1000


class CountedCache(RedisCache):
    """Counts what it writes at once."""

    def __init__(self, link: RedisLink) -> None:
        super().__init__(link, 60)
        self.written: list[int] = []

    async def _store(self, entries: Mapping[bytes, bytes | None], redis: object) -> None:
        self.written.append(len(entries))
        await super()._store(entries, redis)


async def test_what_many_requests_write_is_one_call(link: RedisLink):
    cache = CountedCache(link)
    for number in range(5000):
        await cache.put_many({b"%d" % number: b"v"})
    await cache.aclose()
    assert cache.written == [4096]  # more do not wait
    assert await cache.get_many([b"0", b"4095", b"4096"]) == [b"v", b"v", None]


@pytest.mark.parametrize("fault", ["blackhole", "refuse", "slow"])
async def test_while_redis_is_away_requests_go_on_and_soon_nobody_asks(way: Proxy, fault: Fault):
    link = RedisLink(f"redis://127.0.0.1:{way.port}")
    rules = read_rules("1000 requests/s burst=9; 8 concurrent")
    cache = RedisCache(link, 60)
    limiter = RedisLimiter(link, rules, MemoryLimiter(rules, 9))
    await _until_it_answers(link)
    way.break_with(fault)
    with structlog.testing.capture_logs() as lines:
        for number in range(20):
            await cache.put_many({b"%d" % number: b"v"})
            assert (await cache.get_many([b"absent", b"%d" % number]))[0] is None
            await (await limiter.acquire(demand(f"ada {number}"))).settle(10)
        opened = way.connections
        for _ in range(50):
            with pytest.raises(RedisAway):
                await link.call(lambda redis: redis.ping())
        assert way.connections == opened
    assert [line["event"] for line in lines].count("redis.away") == 1
    way.break_with("none")
    await _until_it_answers(link)
    await cache.aclose()
    await link.aclose()


async def _until_it_answers(link: RedisLink) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            await link.call(lambda redis: redis.ping())
        except RedisAway:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_call_that_is_cancelled_leaves_its_answer_to_nobody_else(way: Proxy):
    link = RedisLink(f"redis://127.0.0.1:{way.port}", PATIENT_S)
    for number in range(50):
        await link.call(lambda redis, number=number: redis.set(f"k{number}", f"v{number}"))  # type: ignore[misc]
    way.break_with("slow")
    calls = [asyncio.create_task(_get(link, number)) for number in range(50)]
    await asyncio.sleep(0.05)
    for call in calls[::2]:
        call.cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert found[1::2] == [f"v{number}".encode() for number in range(50)][1::2]
    way.break_with("none")
    again = await asyncio.gather(*(_get(link, number) for number in range(50)))
    assert again == [f"v{number}".encode() for number in range(50)]
    await link.aclose()


async def _get(link: RedisLink, number: int) -> object:
    return await link.call(lambda redis: redis.get(f"k{number}"))


async def test_one_call_tries_whether_it_is_back_and_the_others_do_not_wait(way: Proxy):
    now = 1000.0
    link = RedisLink(f"redis://127.0.0.1:{way.port}", 0.05, clock=lambda: now)
    way.break_with("blackhole")
    for _ in range(link_module._FAILURES):
        with pytest.raises(RedisAway):
            await link.call(lambda redis: redis.ping())
    now += link_module._REST_S
    trying = asyncio.create_task(link.call(lambda redis: redis.ping()))
    await asyncio.sleep(0)
    begun = time.monotonic()
    for _ in range(100):
        with pytest.raises(RedisAway):
            await link.call(lambda redis: redis.ping())
    assert time.monotonic() - begun < PATIENT_S  # each would have waited
    with pytest.raises(RedisAway):
        await trying
    await link.aclose()
