"""The port of the events: what one says, who may see it, and how it is published and followed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Protocol

Value = str | int | float | bool | None

MISSED: Final = "events.missed"
"""Events happened that this reader is not told."""
DROPPED: Final = "reader.dropped"
"""This reader is told nothing more; ``reason`` says why."""

SLOW: Final = "reader.slow"
STOPPING: Final = "server.stopping"

SUBJECT: Final = re.compile(r"[a-z]{1,32}\.[a-z_]{1,32}")
"""The whole grammar of a subject: nothing in it ends a line."""
_POSITION: Final = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. It never holds an input text or a secret.

    Attributes:
        subject: What happened, as ``noun.past``.
        fields: What is to be said of it. ``model`` is the name of the model that it is about: who may not use that
            model does not see the event.
        tenant: Whose it is; ``None`` for what concerns all, which all may see. Empty: of those without a tenant.
        count: How many times it happened; what repeats itself is told together.
        at: When it happened, or when the last one did.
        id: Where it stands among the others, ``MILLISECONDS-NUMBER``; empty until it is published, and of what is said
            to one reader alone.
    """

    subject: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    tenant: str | None = None
    count: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = ""

    @property
    def model(self) -> str:
        """Name of the model that it is about, without a version; empty if it is about none."""
        return str(self.fields.get("model") or "").partition("@")[0]

    @cached_property
    def spelled(self) -> bytes:
        """It as JSON on one line, of ASCII alone: the same for all who read it."""
        tenant = {"tenant": self.tenant} if self.tenant else {}
        told: dict[str, Any] = {"time": spell_time(self.at), "subject": self.subject, "count": self.count, **tenant}
        return json.dumps({**told, **self.fields, **told}, separators=(",", ":")).encode()  # no field takes their place


class ReaderDropped(Exception):
    """A reader is told nothing more.

    Attributes:
        reason: ``reader.slow``, ``server.stopping``, or the code of the error that its key gives by now.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Subscription(Protocol):
    """One reader's place among the events.

    Attributes:
        has_missed: Whether events may lie between where it was to begin and where it could.
    """

    has_missed: bool

    async def read(self, within_s: float) -> Sequence[Event]:
        """Return what happened since, the oldest first, a bounded number; nothing if nothing happens within the time.

        Raises:
            ReaderDropped: It is so far behind that what comes next is not kept any more, or there is nothing more.
        """
        ...


class Events(Protocol):
    """Tells those who follow what happens, best effort: what nobody follows is forgotten soon."""

    def publish(self, event: Event) -> None:
        """Tell an event. Returns at once and never fails, whatever becomes of the event."""
        ...

    def subscribe(self, after: str | None) -> Subscription:
        """Return what follows the events from now on, or from after an event that was told before.

        Args:
            after: Id of that event. If it is not kept any more, or was never told here, all that is kept and later
                comes, and ``has_missed`` is set. ``0``: all that is kept.
        """
        ...

    def end(self) -> None:
        """Tell whoever follows that there is nothing more."""
        ...


def spell_time(at: datetime) -> str:
    """Return a time of UTC as RFC 3339 has it, in milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_position(text: str) -> tuple[int, int] | None:
    """Return the milliseconds and the number of an id; nothing if it is none."""
    found = _POSITION.fullmatch(text)
    return None if found is None else (int(found[1]), int(found[2] or 0))
