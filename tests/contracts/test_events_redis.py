"""Events over replicas, with a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from tests.contracts.events import KEEP, LIMIT_S, EventsContract, event, numbers, read
from tests.support.proxy import Fault, proxy_to
from tests.support.redis_server import RedisServer, redis_server

from headrace.events import redis as module
from headrace.events.base import MISSED, Event, Subscription
from headrace.events.redis import RedisEvents
from headrace.redis import RedisLink

pytestmark = pytest.mark.connected

PATIENT_S = 10.0
KEY = "headrace:events:v1:all"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[RedisLink]:
    server.start()
    link = RedisLink(server.url, PATIENT_S)
    await link.call(lambda redis: redis.flushall())
    yield link
    await link.aclose()


class Replicas:
    """Makes replicas, and ends them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def start(self, url: str, keep: int = KEEP, budget_s: float = PATIENT_S) -> RedisEvents:
        link = RedisLink(url, budget_s)
        events = RedisEvents(link, keep)
        events.start()
        self._stack.push_async_callback(link.aclose)
        self._stack.push_async_callback(events.aclose)
        return events


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(stack)


class TestRedisEvents(EventsContract):
    @pytest.fixture(autouse=True)
    def _use(self, link: RedisLink, server: RedisServer, replicas: Replicas) -> None:
        self.url = server.url
        self.replicas = replicas

    def make_events(self) -> RedisEvents:
        return self.replicas.start(self.url)


async def until_told(subscription: Subscription, *wanted: int) -> list[Event]:
    """Read until events were told, whatever else is."""
    found: list[Event] = []
    async with asyncio.timeout(LIMIT_S):
        while not set(wanted) <= set(numbers(found)):
            found += await subscription.read(LIMIT_S)
    return found


async def test_what_happens_at_one_replica_is_told_at_all_with_the_same_id(
    link: RedisLink, server: RedisServer, replicas: Replicas
):
    both = [replicas.start(server.url) for _ in range(2)]
    readers = [each.subscribe(None) for each in both]
    for number in range(KEEP):
        both[number % 2].publish(event(number))
    here, there = [await read(each, KEEP) for each in readers]
    assert sorted(numbers(here)) == list(range(KEEP))
    assert [each.spelled for each in here] == [each.spelled for each in there]
    assert [each.id for each in here] == [each.id for each in there]
    for last in range(KEEP):  # whoever was at one of them goes on at the other
        again = both[1].subscribe(here[last].id)
        assert not again.has_missed
        assert len(await read(again, KEEP - 1 - last)) == KEEP - 1 - last


async def test_a_replica_that_starts_later_knows_what_was_told_before(
    link: RedisLink, server: RedisServer, replicas: Replicas
):
    first = replicas.start(server.url)
    reader = first.subscribe(None)
    for number in range(5):
        first.publish(event(number))
    told = await read(reader, 5)
    later = replicas.start(server.url)
    assert numbers(await until_told(later.subscribe("0"), 4)) == [0, 1, 2, 3, 4]
    again = later.subscribe(told[2].id)
    assert not again.has_missed
    assert numbers(await read(again, 2)) == [3, 4]


async def test_the_stream_is_bounded_and_ends_by_itself(link: RedisLink, server: RedisServer, replicas: Replicas):
    events = replicas.start(server.url)
    reader = events.subscribe(None)
    for number in range(400):
        events.publish(event(number))
        await read(reader, 1)
    length = await link.call(lambda redis: redis.xlen(KEY))
    assert KEEP < length <= KEEP + 1 + 100  # it is cut at the border of a node, and has 100 entries in each
    assert 0 < await link.call(lambda redis: redis.ttl(KEY)) <= 86_400


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", ["blackhole", "refuse"])
async def test_while_redis_is_away_a_replica_tells_its_own_and_comes_back_by_itself(
    link: RedisLink, server: RedisServer, replicas: Replicas, fault: Fault
):
    async with proxy_to(server.port) as way:
        cut = replicas.start(f"redis://127.0.0.1:{way.port}", keep=1000, budget_s=0.05)
        other = replicas.start(server.url, keep=1000)
        here, there = cut.subscribe(None), other.subscribe(None)
        cut.publish(event(0))
        await until_told(here, 0)
        way.break_with(fault)
        for number in range(1, 50):
            cut.publish(event(number))
        told = await until_told(here, *range(1, 50))
        assert sorted(numbers(told)) == list(range(1, 50))
        other.publish(event(50))
        await until_told(there, 50)
        await asyncio.sleep(module._REST_S * 2 + module._ANSWER_S * 2)  # so that it is away, and no accident
        way.break_with("none")
        back = await until_told(here, 50)
        if not any(each.subject == MISSED for each in back):
            back += await here.read(LIMIT_S)
        assert [each.fields for each in back if each.subject == MISSED] == [{"reason": "redis.away"}]
        assert [number for number in numbers(back) if number > 0] == [50]
        await until_shared(cut, there)


async def until_shared(events: RedisEvents, there: Subscription) -> None:
    """Publish until an event is told elsewhere."""
    async with asyncio.timeout(LIMIT_S):
        for number in range(100, 1000):
            events.publish(event(number))
            if any(told >= 100 for told in numbers(await there.read(0.1))):
                return


async def test_what_was_told_here_is_not_told_again_when_it_comes_back(
    link: RedisLink, server: RedisServer, replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    async with proxy_to(server.port) as way:
        events = replicas.start(f"redis://127.0.0.1:{way.port}", keep=1000, budget_s=0.02)
        reader = events.subscribe(None)
        events.publish(event(0))
        await until_told(reader, 0)
        way.break_with("slow")  # slower than it is waited for: nobody knows what is kept
        for number in range(1, 20):
            events.publish(event(number))
            await asyncio.sleep(0.01)
        told = await until_told(reader, *range(1, 20))
        way.break_with("none")
        events.publish(event(99))
        told += await until_told(reader, 99)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                while True:
                    told += await reader.read(1.5)
    seen = [number for each, number in zip(told, numbers(told), strict=True) if each.subject != MISSED]
    assert sorted(seen) == [*range(1, 20), 99]


async def test_a_redis_that_was_emptied_or_replaced_is_followed(
    link: RedisLink, server: RedisServer, replicas: Replicas
):
    both = [replicas.start(server.url, budget_s=0.05) for _ in range(2)]
    readers = [each.subscribe(None) for each in both]
    both[0].publish(event(0))
    for each in readers:
        await until_told(each, 0)
    # One whose clock is far ahead was there before: its ids are greater than all that come now.
    await link.call(lambda redis: redis.xadd(KEY, {"key": "x", "event": module._pack(event(7))}, id="9999999999999-0"))
    for each in readers:
        await until_told(each, 7)
    server.stop()
    await asyncio.sleep(module._REST_S)
    server.start()
    await until_shared(both[0], readers[1])


@pytest.mark.parametrize(
    "entry",
    [
        {"event": "no JSON"},
        {"event": "[1]"},
        {"event": "[" * 20_000},
        {"event": "x" * 100_000},
        {"other": "1"},
        {"event": '{"subject":"a.b\\nid: 7","fields":{},"tenant":null,"count":1,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{"x":[1]},"tenant":null,"count":1,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{"x":NaN},"tenant":null,"count":1,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{"x":1e999},"tenant":null,"count":1,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{},"tenant":5,"count":1,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{},"tenant":null,"count":true,"at":"2026-01-01T00:00:00Z"}'},
        {"event": '{"subject":"a.b","fields":{},"tenant":null,"count":1,"at":"yesterday"}'},
        {"event": '{"subject":"a.b","fields":{},"tenant":null,"count":1,"at":"0001-01-01T00:00:00+23:59"}'},
    ],
)
async def test_nonsense_in_the_stream_is_passed_over(
    link: RedisLink, server: RedisServer, replicas: Replicas, entry: dict[str, str]
):
    events = replicas.start(server.url)
    reader = events.subscribe(None)
    await link.call(lambda redis: redis.xadd(KEY, entry))  # type: ignore[arg-type]
    events.publish(event(1))
    assert numbers(await read(reader, 1)) == [1]


async def test_a_redis_that_keeps_no_stream_costs_nothing_else(
    link: RedisLink, server: RedisServer, replicas: Replicas
):
    await link.call(lambda redis: redis.set(KEY, "no stream"))
    shared = RedisLink(server.url, PATIENT_S)
    with structlog.testing.capture_logs() as lines:
        events = RedisEvents(shared, KEEP)
        events.start()
        reader = events.subscribe(None)
        for number in range(10):
            events.publish(event(number))
        assert numbers(await read(reader, 10)) == list(range(10))
        for _ in range(20):  # the limiter and the cache ask on the same link
            await shared.call(lambda redis: redis.ping())
        await wait_for(lambda: lines)
    await events.aclose()
    await shared.aclose()
    assert [line["event"] for line in lines] == ["events.unshared"]


async def test_what_is_too_long_for_others_is_told_here(link: RedisLink, server: RedisServer, replicas: Replicas):
    both = [replicas.start(server.url) for _ in range(2)]
    readers = [each.subscribe(None) for each in both]
    both[0].publish(Event(subject="a.b", fields={"caller": "x" * module._MOST_BYTES}))
    both[0].publish(event(1))
    first, _ = await read(readers[0], 2)
    assert len(str(first.fields["caller"])) == module._MOST_BYTES
    assert numbers(await read(readers[1], 1)) == [1]
    assert not both[0]._waiting


async def test_more_than_can_be_on_its_way_is_told_here_at_once(link: RedisLink, server: RedisServer):
    shared = RedisLink(server.url, PATIENT_S)
    events = RedisEvents(shared, 10_000)  # not started: nothing is sent
    reader = events.subscribe(None)
    for number in range(module._MOST_WAITING + 3):
        events.publish(event(number))
    assert len(events._waiting) == len(events._unsent) == module._MOST_WAITING
    assert numbers(await reader.read(0)) == [module._MOST_WAITING + number for number in range(3)]
    await shared.aclose()
