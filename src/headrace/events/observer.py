"""An observer that tells facts as events, and what repeats itself once a second."""

import asyncio
from collections import defaultdict
from typing import Final

from headrace.events.base import Event, Events, Value
from headrace.events.kinds import KINDS, Kind
from headrace.observe.base import EventPublished, Fact, Observer

_PERIOD_S: Final = 1.0
# Different events that are told within a second: callers are many, and each may hit its limit. More are told together,
# without saying whose they are.
_MOST: Final = 256

_Key = tuple[str, str | None, tuple[tuple[str, Value], ...]]


class EventObserver:
    """Publishes what happened: the first time at once, and then, with a count, once a second as long as it goes on.

    Thousands of refusals a second are so a few events. Single owner: the event loop.

    Args:
        events: Where they are told.
        observer: Hears of each that was.
    """

    def __init__(self, events: Events, observer: Observer) -> None:
        self._events = events
        self._observer = observer
        self._held: dict[_Key, int] = {}  # what was told in this second, and how many times it happened since
        self._kinds = defaultdict[type[Fact], list[Kind]](list)
        for kind in KINDS:
            self._kinds[kind.fact].append(kind)

    def observe(self, fact: Fact) -> None:
        """Tell a fact, if it is an event."""
        for kind in self._kinds.get(type(fact), ()):
            if kind.has_happened(fact):
                self._note((kind.subject, kind.tenant(fact), tuple(kind.fields(fact).items())), kind.count(fact))

    def _note(self, key: _Key, count: int) -> None:
        if key not in self._held and len(self._held) >= _MOST:
            key = (key[0], "", ())  # who has no tenant may know that there are more of them, but nobody else
        if key in self._held:
            self._held[key] += count
            return
        if not self._held:
            self._settle_later()
        self._held[key] = 0
        self._tell(key, count)

    def _settle_later(self) -> None:
        asyncio.get_running_loop().call_later(_PERIOD_S, self._settle)

    def _settle(self) -> None:
        """Tell what was repeated since the last time."""
        repeated = {key: count for key, count in self._held.items() if count}
        self._held = dict.fromkeys(repeated, 0)
        if repeated:
            self._settle_later()
        for key, count in repeated.items():
            self._tell(key, count)

    def _tell(self, key: _Key, count: int) -> None:
        subject, tenant, fields = key
        self._events.publish(Event(subject=subject, fields=dict(fields), tenant=tenant, count=count))
        self._observer.observe(EventPublished(subject=subject))
