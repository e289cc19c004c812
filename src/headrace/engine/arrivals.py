"""Requests whose head is there, and that have not come as far as the queue."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from headrace.errors import QueueFull

# From the head of a request to its run are 1 to 20 ms on a busy machine. One that takes longer has a slow client or is
# refused for something else, and should not keep others out.
_LIMIT_S: Final = 0.25


class Room(Protocol):
    """Says whether anybody may come in."""

    def __call__(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        """Return after how many seconds it is worth to ask again, if no model could let in even one text.

        Args:
            arriving: Requests that come before it.
            size_bytes: Of those together.
            tenant: Who asks; nothing if that is not known.
        """
        ...


class Arrivals:
    """Refuses requests at their head, counting those that were let past and have not come to run yet.

    Hundreds of requests can arrive before the first of them gets that far.

    Args:
        retry_after_s: Says whether a model could let in a text.
    """

    def __init__(self, retry_after_s: Room) -> None:
        self._retry_after_s = retry_after_s
        self._arriving: deque[tuple[float, int]] = deque()  # when, and the bytes of its body
        self._bytes = 0

    def admit(self, size_bytes: int, tenant_of: Callable[[], str | None]) -> None:
        """Count a request as arriving.

        Args:
            size_bytes: Of its body.
            tenant_of: Tells who asks, if that can be told; called only where it matters.

        Raises:
            QueueFull: The queues of all models are full, or will be, and who asks has its share of them.
        """
        now = time.monotonic()
        while self._arriving and now - self._arriving[0][0] > _LIMIT_S:
            self._drop()
        retry_after_s = self._retry_after_s(len(self._arriving), self._bytes)
        if retry_after_s is not None and (tenant := tenant_of()) is not None:
            retry_after_s = self._retry_after_s(len(self._arriving), self._bytes, tenant)
        if retry_after_s is not None:
            raise QueueFull("more work waits than is done in time; ask again later", retry_after_s=retry_after_s)
        self._arriving.append((now, size_bytes))
        self._bytes += size_bytes

    def arrive(self) -> None:
        """Count one less: it runs."""
        if self._arriving:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= self._arriving.popleft()[1]
