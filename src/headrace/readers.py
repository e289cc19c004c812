"""Who may follow the events, how many at once, and what each of them is shown.

Every door that lets somebody follow does it by this: it opens a reader, asks it for what comes next, and hands that on.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from types import TracebackType
from typing import Final, Self

from headrace.auth.base import is_over, may_use, require
from headrace.errors import HeadraceError, ReadersFull, RequestInvalid, ServiceStopping
from headrace.events.base import (
    DROPPED,
    MISSED,
    SLOW,
    STOPPING,
    Event,
    Events,
    ReaderDropped,
    Subscription,
    read_position,
)
from headrace.events.kinds import SUBJECTS, TOLD
from headrace.observe.base import Observer, ReaderJoined, ReaderLeft
from headrace.types import Caller, Scope

_SILENCE_S: Final = 15.0  # half of what the strictest proxies close a silent connection after
_TAKE_S: Final = 10.0  # for a part of what is told, at most 64 KiB
_STOP_S: Final = 1.0  # for all that is left when the server stops
_KNOWN_S: Final = 1.0  # as often as keys are looked up that were revoked elsewhere
_RETRY_S: Final = 5.0
_SHARE: Final = 4  # no caller has more than the fourth part of the readers

LEFT: Final = "client.left"


class Readers:
    """Opens readers.

    Args:
        events: What they follow.
        observer: Hears of who comes and goes.
        most: Of all of them, at once.
    """

    def __init__(self, events: Events, observer: Observer, most: int) -> None:
        self._events = events
        self._observer = observer
        self._most = most
        self._most_of_one = max(1, most // _SHARE)
        self._open: set[Reader] = set()
        self._of_callers: Counter[str] = Counter()
        self._stops_at: float | None = None

    def open(self, identify: Callable[[], Caller], after: str | None, subjects: Collection[str] | None) -> "Reader":
        """Return a reader, which is one until it is left as a context.

        Args:
            identify: Says who reads, and whether it still may; asked again as long as it reads.
            after: Id of the event that it saw last; nothing to begin with the next one.
            subjects: What it is shown; nothing for all.

        Raises:
            AccessDenied: The caller may not follow the events.
            RequestInvalid: There is no such subject, or the id is none.
            ReadersFull: As many follow them as may.
            ServiceStopping: The server stops.
        """
        caller = identify()
        require(caller, Scope.EVENTS_READ)
        _check(after, subjects)
        if self._stops_at is not None:
            raise ServiceStopping("the server stops and tells nothing more; follow another one", retry_after_s=1)
        self._require_room(caller)
        reader = Reader(self, identify, caller, self._events.subscribe(after), subjects)
        self._open.add(reader)
        self._of_callers[caller.name] += 1
        self._observer.observe(ReaderJoined())
        return reader

    def stop(self) -> None:
        """Let every reader end within a second, and no other one begin."""
        self._stops_at = time.monotonic() + _STOP_S
        self._events.end()
        for reader in self._open:
            reader.hurry(_STOP_S)

    @property
    def patience_s(self) -> float:
        """How long a reader may take for a part; nothing is left when the server should have stopped."""
        return _TAKE_S if self._stops_at is None else self._stops_at - time.monotonic()

    @property
    def is_stopping(self) -> bool:
        """Whether readers are to end."""
        return self._stops_at is not None

    def close(self, reader: "Reader", caller: str, left: ReaderLeft) -> None:
        """Make room for another reader."""
        self._open.discard(reader)
        self._of_callers[caller] -= 1
        if not self._of_callers[caller]:
            del self._of_callers[caller]
        self._observer.observe(left)

    def _require_room(self, caller: Caller) -> None:
        if self._of_callers[caller.name] >= self._most_of_one:
            raise ReadersFull(
                f"{caller.name!r} follows the events {self._most_of_one} times already, as often as one caller may;"
                " close another one first",
                retry_after_s=_RETRY_S,
            )
        if len(self._open) >= self._most:
            raise ReadersFull(
                f"{self._most} readers follow the events here, which is all there may be (events.max_readers);"
                " try another replica, or later",
                retry_after_s=_RETRY_S,
            )


class Reader:
    """One who follows the events. Used as a context, which ends it.

    Args:
        readers: All of them.
        identify: Says who it is.
        caller: Who it was at first.
        subscription: Its place among the events.
        subjects: What it is shown; nothing for all.
    """

    def __init__(
        self,
        readers: Readers,
        identify: Callable[[], Caller],
        caller: Caller,
        subscription: Subscription,
        subjects: Collection[str] | None,
    ) -> None:
        self._readers = readers
        self._identify = identify
        self._caller = caller
        self._name = caller.name
        self._subscription = subscription
        self._subjects = None if subjects is None else {*subjects, *TOLD}
        self._has_missed = subscription.has_missed
        self._known_until = time.monotonic() + _KNOWN_S
        self._opened = time.monotonic()
        self._taking: asyncio.Timeout | None = None
        self._shown = 0
        self._reason = LEFT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, ReaderDropped):
            self._reason = error.reason
        stayed_s = time.monotonic() - self._opened
        left = ReaderLeft(caller=self._name, reason=self._reason, events=self._shown, stayed_s=stayed_s)
        self._readers.close(self, self._name, left)

    async def next(self) -> Sequence[Event]:
        """Return what is shown next, a bounded number of events; nothing after a while in which nothing was.

        Raises:
            ReaderDropped: It is shown nothing more.
        """
        if self._has_missed:
            self._has_missed = False
            return [Event(subject=MISSED, fields={"reason": "not.kept"})]
        silent_from = time.monotonic() + _SILENCE_S
        while (left_s := silent_from - time.monotonic()) > 0:
            events = await self._subscription.read(left_s)
            self._require_known()
            if self._readers.patience_s <= 0:
                raise ReaderDropped(STOPPING)
            if shown := [event for event in events if self._may_see(event)]:
                self._shown += len(shown)
                return shown
        return ()

    @contextlib.asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Let a client take a part of what it is shown, within a time.

        Raises:
            ReaderDropped: It does not.
        """
        try:
            async with asyncio.timeout(self._readers.patience_s) as self._taking:
                yield
        except TimeoutError as error:
            raise ReaderDropped(STOPPING if self._readers.is_stopping else SLOW) from error
        finally:
            self._taking = None

    def hurry(self, within_s: float) -> None:
        """Let the client take what it is taking soon."""
        if self._taking is not None:
            self._taking.reschedule(asyncio.get_running_loop().time() + within_s)

    def _may_see(self, event: Event) -> bool:
        if self._subjects is not None and event.subject not in self._subjects:
            return False
        if event.model and not may_use(self._caller, event.model):
            return False
        return event.tenant is None or is_over(self._caller, event.tenant)

    def _require_known(self) -> None:
        """Ask again who reads: keys end, and what they let do may change."""
        now = time.monotonic()
        if now < self._known_until:
            return
        try:
            self._caller = self._identify()
            require(self._caller, Scope.EVENTS_READ)
        except HeadraceError as error:
            raise ReaderDropped(error.code) from error
        self._known_until = now + _KNOWN_S


def last_words(dropped: ReaderDropped) -> Event:
    """Return what a reader is shown last."""
    return Event(subject=DROPPED, fields={"reason": dropped.reason})


def _check(after: str | None, subjects: Collection[str] | None) -> None:
    if after is not None and read_position(after) is None:
        raise RequestInvalid(f"after is {after[:80]!r}; it must be the id of an event, or 0", field="after")
    if unknown := sorted(set(subjects or ()) - set(SUBJECTS)):
        raise RequestInvalid(
            f"there is no subject {unknown[0][:80]!r}; there are {', '.join(SUBJECTS)}", field="subject"
        )
