"""Single flight: what several requests want at the same time is computed once.

The cache answers who comes later; this answers who comes meanwhile, also where nothing is remembered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headrace.errors import CapacityError, DeadlineExceeded, HeadraceError

V = TypeVar("V")
Compute = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, V | HeadraceError]]]


@dataclass(slots=True, eq=False)
class _Asker(Generic[V]):
    """One request.

    Attributes:
        found: Outcomes it has, those that others computed included.
        awaited: Keys that others compute for it; it is woken when the last of them is there.
        news: Set when it has something to do.
        is_waiting: It computes nothing itself, so it can take over what another one gave up.
    """

    found: dict[bytes, V | HeadraceError] = field(default_factory=dict)
    awaited: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_waiting: bool = False

    def take(self, key: bytes, outcome: V | HeadraceError) -> None:
        """Take what another one computed."""
        self.found[key] = outcome
        self.awaited -= 1
        if not self.awaited:
            self.news.set()

    async def wait(self, deadline: float) -> None:
        """Wait until there is something to do."""
        self.news.clear()
        self.is_waiting = True
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self.news.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(
                "the deadline passed while another request computed the same text; ask again"
            ) from error
        finally:
            self.is_waiting = False


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    """A key that is being computed; the followers in the order in which they came."""

    leader: _Asker[V]
    followers: dict[_Asker[V], None] = field(default_factory=dict)


class SingleFlight(Generic[V]):
    """Lets one request at a time compute a key. Single owner: the event loop.

    The first request that wants a key leads: it computes all keys that nobody else does in one go, and only then waits
    for those it follows, so no two requests can wait for each other. Followers share the outcome, be it a value or
    an error of the text. What holds for the leader alone (a ``CapacityError`` such as its deadline, its being
    cancelled, its whole computation refused) they do not share: the first of them that is free takes over. Only
    that one is woken, because a leader that times out must not cost more the more follow it.
    """

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[V]] = {}

    def __len__(self) -> int:
        """Return the number of keys that are being computed."""
        return len(self._flights)

    async def run(
        self, keys: Collection[bytes], compute: Compute[V], deadline: float
    ) -> dict[bytes, V | HeadraceError]:
        """Return the outcome of every key.

        Args:
            keys: What is wanted, each once.
            compute: Given keys that nobody else computes, returns the outcome of each. May be called again, with keys
                that another request gave up. A runtime cannot be interrupted: what it was computing for the one that
                gave up, it still finishes.
            deadline: Point on the monotonic clock until which others are waited for; ``compute`` keeps to its own.

        Raises:
            DeadlineExceeded: Others were not done in time.
            HeadraceError: What ``compute`` raised.
        """
        asker: _Asker[V] = _Asker()
        try:
            while missing := [key for key in keys if key not in asker.found]:
                led = self._join(asker, missing)
                if led:
                    self._settle(asker, await compute(led))
                else:
                    await asker.wait(deadline)
        finally:
            self._leave(asker, keys)
        return asker.found

    def _join(self, asker: _Asker[V], keys: Sequence[bytes]) -> list[bytes]:
        """Follow who computes the keys already, and return those that are the asker's to compute."""
        led = []
        for key in keys:
            flight = self._flights.setdefault(key, _Flight(asker))
            if flight.leader is asker:
                led.append(key)
            else:
                flight.followers[asker] = None
        asker.awaited = len(keys) - len(led)
        return led

    def _settle(self, leader: _Asker[V], outcomes: Mapping[bytes, V | HeadraceError]) -> None:
        for key, outcome in outcomes.items():
            leader.found[key] = outcome
            if isinstance(outcome, CapacityError):
                self._give_up(key)
                continue
            for follower in self._flights.pop(key).followers:
                follower.take(key, outcome)

    def _give_up(self, key: bytes) -> None:
        """Hand a key to the first follower that is free. If none is, the next request that looks for it leads."""
        flight = self._flights[key]
        heir = next((follower for follower in flight.followers if follower.is_waiting), None)
        if heir is None:
            del self._flights[key]
            return
        del flight.followers[heir]
        flight.leader = heir
        heir.news.set()

    def _leave(self, asker: _Asker[V], keys: Collection[bytes]) -> None:
        """Leave nothing behind, whether it has what it wanted, failed or was cancelled."""
        for key in keys:
            flight = self._flights.get(key)
            if flight is not None and flight.leader is asker:
                self._give_up(key)
            elif flight is not None:
                flight.followers.pop(asker, None)
