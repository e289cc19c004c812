from collections.abc import Iterator

import pytest

from headrace.events.base import Event, ReaderDropped, read_position
from headrace.events.ring import Ring


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def ids(ring: Ring) -> list[str]:
    return [event.id for event in ring.read(0)]


def test_ids_grow_also_when_the_clock_stands_still_or_goes_back() -> None:
    times = clock(5.0, 5.0, 4.0, 6.0)
    ring = Ring(9, clock=lambda: next(times))
    for _ in range(4):
        ring.tell(Event(subject="a.b"))
    assert ids(ring) == ["5000-0", "5000-1", "5000-2", "6000-0"]


def test_what_gives_ids_in_several_places_gives_different_ones() -> None:
    times = clock(5.0, 5.0, 5.0)
    ring = Ring(9, first=100, clock=lambda: next(times))
    ring.tell(Event(subject="a.b"))
    ring.tell(Event(subject="a.b", id="6000-3"))
    ring.tell(Event(subject="a.b"))
    ring.tell(Event(subject="a.b"))
    assert ids(ring) == ["5000-100", "6000-3", "6000-100", "6000-101"]


def test_an_id_between_two_is_the_place_before_the_next() -> None:
    ring = Ring(9)
    for place in ("5-0", "7-0", "9-0"):
        ring.tell(Event(subject="a.b", id=place))
    subscription = ring.subscribe("6-0")
    assert subscription.has_missed
    assert [event.id for event in ring.read(subscription._place)] == ["7-0", "9-0"]


def test_the_memory_is_that_of_what_is_kept() -> None:
    ring = Ring(16)
    for number in range(10_000):
        ring.tell(Event(subject="a.b", fields={"n": number}))
    assert [event.fields["n"] for event in ring.read(10_000 - 16)] == list(range(10_000 - 16, 10_000))
    with pytest.raises(ReaderDropped):
        ring.read(10_000 - 17)
    assert len(ring._slots) == 16


async def test_a_reader_is_given_a_bounded_number_at_a_time() -> None:
    ring = Ring(1000)
    subscription = ring.subscribe(None)
    for _ in range(600):
        ring.tell(Event(subject="a.b"))
    assert [len(await subscription.read(0)) for _ in range(4)] == [256, 256, 88, 0]


def test_every_id_is_one_that_can_be_come_back_with() -> None:
    ring = Ring(4, first=1 << 62)
    ring.tell(Event(subject="a.b"))
    assert all(read_position(each) for each in ids(ring))
