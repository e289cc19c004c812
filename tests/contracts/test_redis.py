"""The adapters to Redis, with a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
import structlog
from tests.contracts.cache import CacheContract
from tests.contracts.limits import Clock, LimiterContract
from tests.support.proxy import Fault, Proxy, proxy_to
from tests.support.redis_server import redis_server

from headrace import redis as link_module
from headrace.allowance import Allowance
from headrace.cache.memory import MemoryCache
from headrace.cache.redis import RedisCache
from headrace.errors import LimitExceeded
from headrace.limits import redis as limits
from headrace.limits.memory import MemoryLimiter
from headrace.limits.redis import RedisLimiter
from headrace.redis import RedisAway, RedisLink

pytestmark = pytest.mark.connected

PATIENT_S = 10.0
_END = ", 'PX', math.ceil(full_in / 1000) + 1"  # by Redis' own clock, while that of the test stands still
_SEEN_CLOCK = "{redis.call('GET', 'clock:seconds'), redis.call('GET', 'clock:rest')}"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with redis_server() as server:
        yield server.port


@pytest.fixture
async def link(port: int) -> AsyncIterator[RedisLink]:
    link = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    await link.call(lambda redis: redis.flushall())
    yield link
    await link.aclose()


class ClockedLimiter(RedisLimiter):
    """Reads the time from a clock of the test."""

    def __init__(self, link: RedisLink, rate: float, burst: int, clock: Clock) -> None:
        super().__init__(link, rate, burst, MemoryLimiter(rate, 0, 1))
        self._clock = clock

    async def acquire(self, caller: str, cost: float = 1.0) -> Allowance | None:
        microseconds = round(self._clock.now * 1e6)
        now = {"clock:seconds": microseconds // 1_000_000, "clock:rest": microseconds % 1_000_000}
        await self._link.call(lambda redis: redis.mset(now))
        return await super().acquire(caller, cost)


class TestRedisLimiter(LimiterContract):
    @pytest.fixture(autouse=True)
    def _use(self, link: RedisLink, monkeypatch: pytest.MonkeyPatch) -> None:
        self.link = link
        assert "redis.call('TIME')" in limits._TAKE
        assert _END in limits._TAKE
        script = limits._TAKE.replace("redis.call('TIME')", _SEEN_CLOCK).replace(_END, "")
        monkeypatch.setattr(limits, "_TAKE", script)

    def make_limiter(self, requests_per_s: float | None, burst: int, clock: Clock) -> RedisLimiter:
        if requests_per_s is None:
            pytest.skip("without a rate there is nothing to count in Redis")
        return ClockedLimiter(self.link, requests_per_s, burst, clock)


async def test_replicas_count_together_and_never_admit_more_than_the_burst(link: RedisLink, port: int):
    other = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    replicas = [RedisLimiter(each, 0.001, 50, MemoryLimiter(0.001, 50, 9)) for each in (link, other)]

    async def ask(number: int) -> bool:
        try:
            await replicas[number % 2].acquire("ada")
        except LimitExceeded:
            return False
        return True

    admitted = [await asyncio.gather(*(ask(number) for number in range(40))) for _ in range(5)]
    assert sum(map(sum, admitted)) == 50
    await other.aclose()


async def test_what_is_left_is_told_truly(link: RedisLink):
    limiter = RedisLimiter(link, 0.001, 3, MemoryLimiter(0.001, 3, 9))
    left = [await limiter.acquire("ada") for _ in range(3)]
    assert [each.remaining for each in left if each] == [2, 1, 0]
    with pytest.raises(LimitExceeded) as caught:
        await limiter.acquire("ada")
    assert caught.value.allowance is not None
    assert caught.value.allowance.remaining == 0
    assert caught.value.retry_after_s == pytest.approx(1000, abs=30)


async def test_what_is_kept_is_forgotten_when_it_says_nothing_any_more(link: RedisLink):
    limiter = RedisLimiter(link, 100.0, 3, MemoryLimiter(1.0, 3, 9))
    await limiter.acquire("ada")
    lives_ms = await link.call(lambda redis: redis.pttl("headrace:limits:v1:ada"))
    assert 0 < lives_ms <= 12


@pytest.mark.parametrize("kept", ["nonsense", "99999999999999999999"])
async def test_nonsense_in_redis_keeps_nobody_out_for_long(link: RedisLink, kept: str):
    await link.call(lambda redis: redis.set("headrace:limits:v1:ada", kept))
    limiter = RedisLimiter(link, 10.0, 2, MemoryLimiter(10.0, 2, 9))
    refused = await asyncio.gather(*(limiter.acquire("ada") for _ in range(4)), return_exceptions=True)
    assert isinstance(refused[-1], LimitExceeded)
    assert (refused[-1].retry_after_s or 9) <= 0.2


class TestRedisCache(CacheContract):
    @pytest.fixture(autouse=True)
    def _use(self, link: RedisLink) -> None:
        self.link = link

    def make_cache(self) -> RedisCache:
        return RedisCache(self.link, MemoryCache(1 << 20), 60)


class TestRedisCacheAlone(TestRedisCache):
    """Nothing is remembered in the process: all comes from Redis."""

    def make_cache(self) -> RedisCache:
        return FlushedCache(self.link, MemoryCache(0), 60)


class FlushedCache(RedisCache):
    """Waits for its writes."""

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        await super().put_many(entries)
        await self.aclose()


async def test_what_one_replica_remembers_another_one_has(link: RedisLink, port: int):
    other = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    here, near = FlushedCache(link, MemoryCache(1 << 20), 60), MemoryCache(1 << 20)
    await here.put_many({b"key": b"value"})
    assert await RedisCache(other, near, 60).get_many([b"key", b"none"]) == [b"value", None]
    assert await near.get_many([b"key"]) == [b"value"]
    lives_s = await link.call(lambda redis: redis.ttl(b"headrace:cache:v1:key"))
    assert 50 < lives_s <= 60
    await other.aclose()


@pytest.fixture
async def way(port: int) -> AsyncIterator[Proxy]:
    async with proxy_to(port) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", ["blackhole", "refuse", "slow"])
async def test_while_redis_is_away_requests_go_on_and_soon_nobody_asks(way: Proxy, fault: Fault):
    link = RedisLink(f"redis://127.0.0.1:{way.port}")
    cache, limiter = RedisCache(link, MemoryCache(1 << 20), 60), RedisLimiter(link, 1000.0, 9, MemoryLimiter(1e3, 9, 9))
    await _until_it_answers(link)
    way.break_with(fault)
    with structlog.testing.capture_logs() as lines:
        for number in range(20):
            await cache.put_many({b"%d" % number: b"v"})
            assert await cache.get_many([b"%d" % number, b"absent"]) == [b"v", None]
            await limiter.acquire(f"ada {number}")
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
