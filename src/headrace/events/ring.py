"""The events that were told last, in the order in which they were: what readers follow, each at its own pace.

A reader has a place here and no buffer of its own: however many there are and however slowly they read, the memory is
that of the events that are kept. Who is so slow that its place is taken by a newer event is dropped.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from headrace.events.base import SLOW, STOPPING, Event, ReaderDropped, read_position

_MOST_READ: Final = 256  # at a time, so that one who reads all that is kept does not keep others waiting

_Position = tuple[int, int]


class Ring:
    """Keeps events, and wakes whoever waits for the next one.

    Single owner: the event loop.

    Args:
        keep: How many.
        first: Where the numbers of the ids begin that are given here. What gives ids in several places begins with
            different ones, so that no two events have the same.
        clock: Seconds since 1970.
    """

    def __init__(self, keep: int, first: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._keep = keep
        self._slots: list[Event] = []  # the event at a place is in the slot ``place % keep``
        self._end = 0  # the place of the next event
        self._first = first
        self._clock = clock
        self._last: _Position = (0, 0)
        self._before: _Position = (0, 0)  # id of the last one that is not kept any more
        self._changed = asyncio.Event()
        self.is_ended = False

    def tell(self, event: Event) -> None:
        """Keep an event, with an id if it has none yet, and wake the readers."""
        if not event.id:
            event = replace(event, id=self._next_id())
        if len(self._slots) < self._keep:
            self._slots.append(event)
        else:
            self._before = _position(self._at(self._end))
            self._slots[self._end % self._keep] = event
        self._end += 1
        self._last = max(self._last, _position(event))
        self._wake()

    def end(self) -> None:
        """Let no reader wait any more."""
        self.is_ended = True
        self._wake()

    def subscribe(self, after: str | None) -> "RingSubscription":
        """Return a place: the next one, or that behind an event."""
        place, is_known = (self._end, True) if after is None else self._find(read_position(after) or (0, 0))
        return RingSubscription(self, place, has_missed=not is_known)

    def read(self, place: int) -> list[Event]:
        """Return events from a place on.

        Raises:
            ReaderDropped: What was there is not kept any more.
        """
        if place < self._begin:
            raise ReaderDropped(SLOW)
        return [self._at(each) for each in range(place, min(self._end, place + _MOST_READ))]

    async def wait(self, within_s: float) -> None:
        """Return when there is another event, or the time is over."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await changed.wait()

    @property
    def _begin(self) -> int:
        return self._end - len(self._slots)

    def _at(self, place: int) -> Event:
        return self._slots[place % self._keep]

    def _find(self, position: _Position) -> tuple[int, bool]:
        """Return the place after an id, and whether nothing lies between that is not there."""
        if position == self._before:
            return self._begin, True
        places = range(self._begin, self._end)
        known = next((place for place in reversed(places) if _position(self._at(place)) == position), None)
        if known is not None:
            return known + 1, True
        return next((place for place in places if _position(self._at(place)) > position), self._end), False

    def _next_id(self) -> str:
        milliseconds = int(self._clock() * 1000)
        if milliseconds <= self._last[0]:
            # The clock stood still, or went back; ids do not.
            return f"{self._last[0]}-{max(self._last[1] + 1, self._first)}"
        return f"{milliseconds}-{self._first}"

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class RingSubscription:
    """A reader's place in a ring."""

    def __init__(self, ring: Ring, place: int, *, has_missed: bool) -> None:
        self._ring = ring
        self._place = place
        self.has_missed = has_missed

    async def read(self, within_s: float) -> list[Event]:
        """Return what happened since; as the port says."""
        events = self._ring.read(self._place)
        if not events and not self._ring.is_ended:
            await self._ring.wait(within_s)
            events = self._ring.read(self._place)
        if not events and self._ring.is_ended:
            raise ReaderDropped(STOPPING)
        self._place += len(events)
        return events


def _position(event: Event) -> _Position:
    return read_position(event.id) or (0, 0)
