"""What everything that tells events must do."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from headrace.events.base import SLOW, STOPPING, Event, Events, ReaderDropped, Subscription, read_position

LIMIT_S = 20.0
KEEP = 16
HOSTILE = "a\r\ndata: forged\n\nid: 9\u2028\x00\ud800"


def event(number: int) -> Event:
    return Event(subject="limit.exceeded", fields={"caller": f"ada {number}"}, tenant="acme", count=number + 1)


async def read(subscription: Subscription, count: int) -> list[Event]:
    """Return so many events, which come."""
    found: list[Event] = []
    async with asyncio.timeout(LIMIT_S):
        while len(found) < count:
            found += await subscription.read(LIMIT_S)
    assert len(found) == count
    return found


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.count - 1 for event in events]


class EventsContract:
    """Inherit, and make what tells events; it keeps ``KEEP``."""

    def make_events(self) -> Events:
        """Return one that told nothing yet."""
        raise NotImplementedError

    async def tell(self, events: Events, first: int, count: int) -> list[Event]:
        """Publish events, and return them when they are told."""
        subscription = events.subscribe(None)
        told: list[Event] = []
        for number in range(first, first + count):  # one by one: who is slower than that is not what is tested
            events.publish(event(number))
            told += await read(subscription, 1)
        return told

    async def test_who_follows_is_told_in_order_and_whole(self) -> None:
        events = self.make_events()
        subscription = events.subscribe(None)
        before = datetime.now(UTC)
        for number in range(9):
            events.publish(event(number))
        events.publish(Event(subject="version.switched", fields={"model": HOSTILE, "n": 1, "r": 0.5, "no": None}))
        *told, last = await read(subscription, 10)
        assert numbers(told) == list(range(9))
        assert [(each.subject, each.tenant) for each in told] == [("limit.exceeded", "acme")] * 9
        assert told[3].fields == {"caller": "ada 3"}
        assert (last.tenant, last.fields) == (None, {"model": HOSTILE, "n": 1, "r": 0.5, "no": None})
        assert abs((last.at - before).total_seconds()) < LIMIT_S
        assert last.at.utcoffset() is not None

    async def test_ids_only_grow(self) -> None:
        told = await self.tell(self.make_events(), 0, 12)
        places = [read_position(each.id) for each in told]
        assert None not in places
        assert places == sorted(set(places))  # type: ignore[type-var]

    async def test_what_happened_before_is_not_told_unless_it_is_asked_for(self) -> None:
        events = self.make_events()
        await self.tell(events, 0, 3)
        late, whole = events.subscribe(None), events.subscribe("0")
        assert not late.has_missed
        assert not whole.has_missed
        await self.tell(events, 3, 1)
        assert numbers(await read(late, 1)) == [3]
        assert numbers(await read(whole, 4)) == [0, 1, 2, 3]

    async def test_a_reader_that_comes_back_loses_nothing_and_is_told_nothing_twice(self) -> None:
        events = self.make_events()
        told = await self.tell(events, 0, KEEP)
        for last in told:
            again = events.subscribe(last.id)
            assert not again.has_missed
            expected = numbers(told)[numbers([last])[0] + 1 :]
            assert numbers(await read(again, len(expected))) == expected

    async def test_the_last_one_that_is_not_kept_any_more_is_still_a_place(self) -> None:
        events = self.make_events()
        told = await self.tell(events, 0, KEEP + 1)
        again = events.subscribe(told[0].id)
        assert not again.has_missed
        assert numbers(await read(again, KEEP)) == list(range(1, KEEP + 1))

    @pytest.mark.parametrize("after", [None, "0", "12345-6"])
    async def test_who_comes_back_too_late_is_told_so_and_what_is_kept(self, after: str | None) -> None:
        events = self.make_events()
        told = await self.tell(events, 0, KEEP + 5)
        again = events.subscribe(after or told[1].id)
        assert again.has_missed
        assert numbers(await read(again, KEEP)) == list(range(5, KEEP + 5))

    async def test_an_id_that_was_never_told_here_may_have_missed_something(self) -> None:
        events = self.make_events()
        await self.tell(events, 0, 2)
        again = events.subscribe("99999999999999999999-99999999999999999999")
        assert again.has_missed
        await self.tell(events, 2, 1)
        assert numbers(await read(again, 1)) == [2]

    async def test_a_reader_that_is_overtaken_is_dropped(self) -> None:
        events = self.make_events()
        slow, quick = events.subscribe(None), events.subscribe(None)
        await self.tell(events, 0, KEEP)
        assert len(await read(quick, KEEP)) == KEEP
        await self.tell(events, KEEP, 1)
        with pytest.raises(ReaderDropped) as caught:
            await slow.read(LIMIT_S)
        assert caught.value.reason == SLOW
        assert numbers(await read(quick, 1)) == [KEEP]

    async def test_silence_is_nothing_after_a_while(self) -> None:
        events = self.make_events()
        assert not await events.subscribe(None).read(0.01)

    async def test_at_the_end_readers_are_told_what_is_left_and_then_that_it_is_over(self) -> None:
        events = self.make_events()
        behind, waiting = events.subscribe(None), events.subscribe(None)
        await self.tell(events, 0, 2)
        await read(waiting, 2)
        waits = asyncio.create_task(waiting.read(LIMIT_S))
        await asyncio.sleep(0)
        events.end()
        assert numbers(await read(behind, 2)) == [0, 1]
        for ended in (waits, behind.read(LIMIT_S), events.subscribe(None).read(LIMIT_S)):
            with pytest.raises(ReaderDropped) as caught:
                await ended
            assert caught.value.reason == STOPPING
        events.publish(event(2))
