"""The events of this process, for those who follow them here."""

from headrace.events.base import Event
from headrace.events.ring import Ring, RingSubscription


class MemoryEvents:
    """Keeps what happened last, and tells it to whoever follows.

    Args:
        keep: How many events.
    """

    def __init__(self, keep: int) -> None:
        self._ring = Ring(keep)

    def publish(self, event: Event) -> None:
        """Tell an event."""
        self._ring.tell(event)

    def subscribe(self, after: str | None) -> RingSubscription:
        """Return what follows the events."""
        return self._ring.subscribe(after)

    def end(self) -> None:
        """Tell whoever follows that there is nothing more."""
        self._ring.end()
