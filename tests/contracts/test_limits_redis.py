"""The limiter in Redis, with a real server."""

import asyncio
import contextlib
import random
import time
from typing import Any

import pytest
from tests.contracts.limits import DAY_S, Clock, LimiterContract, demand, left, refused
from tests.support.limits import ClockedLimiter, Model, Step, compare_with_model, with_clock_of_test
from tests.support.proxy import Fault, Proxy
from tests.support.redis_server import PATIENT_S

from headrace.errors import LimitExceeded
from headrace.limits import redis as limits
from headrace.limits.base import Limiter, Reservation
from headrace.limits.memory import MemoryLimiter
from headrace.limits.redis import RedisLimiter
from headrace.limits.script import SCRIPT
from headrace.redis import RedisLink
from headrace.settings import Rule
from headrace.settings.rules import read_rules

pytestmark = pytest.mark.connected


class Unused:
    """Counts while Redis is away, which it is not."""

    async def acquire(self, _demand: object) -> Reservation:
        raise AssertionError("Redis is there")

    async def aclose(self) -> None:
        raise AssertionError("is closed by whoever made it")


def limiter_at(link: RedisLink, rules: str, otherwise: Limiter | None = None) -> RedisLimiter:
    return RedisLimiter(link, read_rules(rules), otherwise or Unused())


async def settled(link: RedisLink, limiter: RedisLimiter) -> None:
    """Wait until nothing is asked of Redis any more."""
    await limiter.aclose()
    while link._running:
        await asyncio.sleep(0.001)
    await limiter.aclose()


async def keys_of(link: RedisLink) -> list[bytes]:
    async def ask(redis: Any) -> list[bytes]:
        return sorted(await redis.keys("headrace:limits:*"))

    return await link.call(ask)


@pytest.fixture
def by_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCRIPT", with_clock_of_test(SCRIPT))


@pytest.mark.usefixtures("by_clock")
class TestRedisLimiter(LimiterContract):
    @pytest.fixture(autouse=True)
    def _use(self, link: RedisLink) -> None:
        self.link = link

    def make_limiter(self, rules: tuple[Rule, ...], clock: Clock) -> RedisLimiter:
        return ClockedLimiter(self.link, rules, Unused(), clock)


@pytest.mark.usefixtures("by_clock")
@pytest.mark.parametrize("off_s", [-0.9 * DAY_S, 0, 0.9 * DAY_S])
async def test_the_day_is_that_of_redis_however_wrong_the_clocks_of_replicas_are(link: RedisLink, off_s: float):
    clock = Clock(40 * DAY_S)
    limiter = ClockedLimiter(link, read_rules("2 requests/day"), Unused(), clock)
    limiter.off_s = off_s
    assert [(await left(limiter, demand())).remaining for _ in range(2)] == [1, 0]
    assert (await refused(limiter, demand())).retry_after_s == pytest.approx(DAY_S)
    clock.now += DAY_S
    assert (await left(limiter, demand())).remaining == 1


@pytest.mark.usefixtures("by_clock")
@pytest.mark.parametrize("seed", range(12))
async def test_two_replicas_together_do_what_the_limits_mean(link: RedisLink, port: int, seed: int):
    clock, chance = Clock(), random.Random(seed)
    other = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    replicas = [ClockedLimiter(each, read_rules(Model.RULES), Unused(), clock) for each in (link, other)]
    steps: list[Step] = []
    for _ in range(120):
        kind = chance.choice(["acquire", "acquire", "settle", "wait"])
        most = 9 if kind == "wait" else 80
        steps.append((kind, chance.choice([0, *range(2, most)]), chance.randrange(12)))
    assert await compare_with_model(replicas, clock, steps) > 10
    await other.aclose()


async def test_replicas_count_together_and_never_admit_more_than_the_burst(link: RedisLink, port: int):
    other = RedisLink(f"redis://127.0.0.1:{port}", PATIENT_S)
    rules = "0.001 requests/s burst=50; 700 tokens/month tenant=*; 1000 concurrent"
    replicas = [limiter_at(each, rules) for each in (link, other)]

    async def ask(number: int) -> str:
        caller = "ada" if number % 4 else "bob"
        try:
            reservation = await replicas[number % 2].acquire(demand(caller, 10, tenant="acme"))
        except LimitExceeded as error:
            return error.limit
        await reservation.settle(10)
        return caller

    found = [each for _ in range(5) for each in await asyncio.gather(*(ask(number) for number in range(40)))]
    assert found.count("ada") <= 50
    assert found.count("ada") + found.count("bob") == 70
    await other.aclose()


async def test_a_request_is_one_call_and_one_more_only_if_something_is_settled(link: RedisLink):
    async def calls() -> int:
        stats = await link.call(lambda redis: redis.info("commandstats"))
        return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])

    limiter = limiter_at(link, "9 requests/s; 9 requests/day; 1000 tokens/day; 8 requests/month model=*")
    await (await limiter.acquire(demand())).settle(10)
    begun = await calls()
    await (await limiter.acquire(demand())).settle(10)
    assert await calls() == begun + 1
    await (await limiter.acquire(demand())).settle(9)
    assert await calls() == begun + 3


async def test_what_is_kept_is_forgotten_when_it_says_nothing_any_more(link: RedisLink):
    limiter = limiter_at(link, "100 requests/s burst=3; 5 requests/day; 5 requests/month; 5 concurrent")
    reservation = await limiter.acquire(demand(seconds=20))
    lives = {key: await link.call(lambda redis, key=key: redis.pttl(key)) for key in await keys_of(link)}  # type: ignore[misc]
    by_name = {key.split(b":")[3].decode(): lives_ms / 1000 for key, lives_ms in lives.items()}
    now = time.time()
    assert set(by_name) == {"requests", "requests-day", "requests-month", "concurrent"}
    assert by_name["requests"] <= 0.012
    assert by_name["requests-day"] <= 2 * DAY_S + 3601
    assert by_name["requests-day"] + now >= (now // DAY_S + 1) * DAY_S
    assert by_name["requests-month"] <= 62 * DAY_S + 3601
    assert 20 < by_name["concurrent"] <= 21.1
    await reservation.settle(10)
    assert b"headrace:limits:v1:concurrent::ada:" not in await keys_of(link)


async def test_the_place_of_a_replica_that_died_is_free_when_its_request_would_have_ended(link: RedisLink):
    dead, alive = limiter_at(link, "1 concurrent"), limiter_at(link, "1 concurrent")
    await dead.acquire(demand(seconds=-0.7))  # 0.3 s with what is added
    assert (await refused(alive, demand())).limit == "concurrent"
    deadline = time.monotonic() + PATIENT_S
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        with contextlib.suppress(LimitExceeded):
            await alive.acquire(demand())
            return
    raise AssertionError("its place is still taken")


async def test_a_request_with_little_time_ends_no_other_s_lease(link: RedisLink):
    limiter = limiter_at(link, "5 concurrent")
    await limiter.acquire(demand(seconds=60))
    await limiter.acquire(demand(seconds=1))
    (key,) = await keys_of(link)
    assert await link.call(lambda redis: redis.pttl(key)) > 50_000


@pytest.mark.parametrize(
    "kept", ["nonsense", "99999999999999999999", "nan 1", "inf 1", "-5 1", "1e999 1", "5 5 5", "5 nan"]
)
@pytest.mark.parametrize("rules", ["10 requests/s burst=2", "2 requests/day"])
async def test_nonsense_in_redis_is_as_nothing(link: RedisLink, rules: str, kept: str):
    limiter = limiter_at(link, rules)
    await limiter.acquire(demand())
    (key,) = await keys_of(link)
    await link.call(lambda redis: redis.set(key, kept))
    assert (await left(limiter, demand())).remaining == 1


@pytest.mark.parametrize("at", range(7))
async def test_whoever_is_cancelled_at_any_moment_has_taken_nothing(link: RedisLink, at: int):
    limiter = limiter_at(link, "1 concurrent; 100 tokens/day; 1 requests/month")
    for _ in range(5):
        task = asyncio.ensure_future(limiter.acquire(demand(tokens=100)))
        for _ in range(at):
            await asyncio.sleep(0)
        task.cancel()
        (found,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(found, asyncio.CancelledError)
        await settled(link, limiter)
    reservation = await limiter.acquire(demand(tokens=100))
    await reservation.settle(100)


async def test_nor_has_whoever_is_cancelled_when_the_answer_is_just_there(link: RedisLink):
    limiter = limiter_at(link, "1 concurrent; 1 requests/month")
    task = asyncio.ensure_future(limiter.acquire(demand()))
    await asyncio.sleep(0)
    (call,) = link._running
    call.add_done_callback(lambda _: task.cancel())  # before whoever waits for it goes on
    (found,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(found, asyncio.CancelledError)
    await limiter.aclose()
    await limiter.acquire(demand())


@pytest.mark.parametrize("at", range(6))
async def test_what_is_settled_is_settled_whoever_is_cancelled(link: RedisLink, at: int):
    limiter = limiter_at(link, "1 concurrent; 100 tokens/day")
    reservation = await limiter.acquire(demand(tokens=100))
    task = asyncio.ensure_future(reservation.settle(0))
    for _ in range(at):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if at == 0:  # it had not begun
        await reservation.settle(0)
    await limiter.aclose()
    await limiter.acquire(demand(tokens=100))


async def test_what_came_too_late_from_redis_is_given_back_and_counted_here(link: RedisLink, way: Proxy):
    rules = "1 concurrent; 100 tokens/day; 5 requests/month"
    slow = RedisLink(f"redis://127.0.0.1:{way.port}", 0.02)
    here = MemoryLimiter(read_rules(rules), 9)
    limiter = limiter_at(slow, rules, here)
    deadline = time.monotonic() + PATIENT_S
    while not await keys_of(link) and time.monotonic() < deadline:  # until it is connected
        await (await limiter.acquire(demand("first"))).settle(10)
    await settled(slow, limiter)
    before, counted = await keys_of(link), here.callers
    way.break_with("slow")
    reservation = await limiter.acquire(demand(tokens=100))
    assert here.callers == counted + 3
    await settled(slow, limiter)
    assert await keys_of(link) == before
    await reservation.settle(0)
    assert here.callers == counted + 1
    way.break_with("none")
    await slow.aclose()


async def test_what_cannot_be_settled_stays_as_it_was_estimated(link: RedisLink, way: Proxy):
    going = RedisLink(f"redis://127.0.0.1:{way.port}", PATIENT_S)
    reservation = await limiter_at(going, "100 tokens/day").acquire(demand(tokens=60))
    way.break_with("refuse")
    assert [each.remaining for each in await reservation.settle(5)] == [40]
    way.break_with("none")
    assert (await left(limiter_at(link, "100 tokens/day"), demand(tokens=10))).remaining == 30
    await going.aclose()


async def test_while_redis_comes_and_goes_every_request_is_answered_and_no_place_is_lost(link: RedisLink, way: Proxy):
    rules = "4 concurrent; 1000000 tokens/day"
    flapping = RedisLink(f"redis://127.0.0.1:{way.port}", 0.02)
    limiter = limiter_at(flapping, rules, MemoryLimiter(read_rules(rules), 9))

    async def ask(number: int) -> None:
        reservation = await limiter.acquire(demand(seconds=0))
        await asyncio.sleep(0.001 * (number % 3))
        await reservation.settle(number)

    faults: list[Fault] = ["none", "slow", "none", "refuse", "blackhole", "none"]
    for fault in faults:
        way.break_with(fault)
        for number in range(20):
            await asyncio.gather(*(ask(number) for _ in range(2)))
    way.break_with("none")
    await limiter.aclose()
    await asyncio.sleep(1.1)  # the longest lease
    direct = limiter_at(link, rules)
    for _ in range(4):
        await direct.acquire(demand())
    await flapping.aclose()
