"""Which texts run together: a bounded choice by length and deadline, made anew for each batch.

A batch costs its longest text times its number of texts, so texts of about one length run together. The
text whose deadline is nearest is always in the next batch, which keeps every text moving, and the rest of
the batch is filled with its neighbours in length. Nothing waits for company: what is there runs.
"""

import asyncio
import bisect
import heapq
import itertools
from dataclasses import dataclass, field
from typing import Final

from headrace.engine.base import Encoding, Output

# A neighbour is taken along while padding makes it at most this much longer, plus a few tokens: below that
# a text costs less in its own batch later.
_MAX_STRETCH: Final = 1.25
_FREE_PADDING_TOKENS: Final = 8
# A text that left with an earlier batch stays in the order of deadlines until it comes up there, or until
# so many have gathered that clearing them out costs less than keeping them.
_MAX_GONE: Final = 1024


@dataclass(slots=True, eq=False, kw_only=True)
class Waiting:
    """One text in the queue.

    Attributes:
        number: Its number among all texts of this process.
        order: Its number among the texts of this queue, which the queue gives.
        deadline: Point on the monotonic clock after which it is not computed.
        queued_at: Point on the monotonic clock when it came.
        future: Resolved with the output or an error; done already if the caller has left.
        started_at: Point on the monotonic clock when its batch was formed.
    """

    encoding: Encoding
    deadline: float
    queued_at: float
    future: asyncio.Future[Output]
    number: int = 0
    order: int = -1
    started_at: float = 0.0
    run_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Length in tokens."""
        return len(self.encoding.ids)


@dataclass(slots=True)
class Batcher:
    """The texts that wait for one model. Single owner: the event loop.

    Args:
        token_budget: Most tokens of one batch, padding included; a text longer than that runs alone.
    """

    token_budget: int
    _by_length: list[tuple[int, int, Waiting]] = field(default_factory=list)
    _by_deadline: list[tuple[float, int, Waiting]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self._by_length)

    def put(self, waiting: Waiting) -> None:
        """Add a text."""
        waiting.order = next(self._count)
        bisect.insort(self._by_length, (waiting.tokens, waiting.order, waiting))
        heapq.heappush(self._by_deadline, (waiting.deadline, waiting.order, waiting))
        if len(self._by_deadline) > 2 * len(self._by_length) + _MAX_GONE:
            self._by_deadline = [(text.deadline, order, text) for _, order, text in self._by_length]
            heapq.heapify(self._by_deadline)

    def discard(self, waiting: Waiting) -> None:
        """Remove a text that nobody waits for any more, if it is still here: it must take no room of the living."""
        place = self._place(waiting)
        if place is not None:
            del self._by_length[place]

    def expire(self, now: float) -> list[Waiting]:
        """Remove and return the texts whose deadline has passed."""
        late = []
        while self._by_deadline and self._by_deadline[0][0] <= now:
            waiting = heapq.heappop(self._by_deadline)[2]
            place = self._place(waiting)
            if place is not None:
                del self._by_length[place]
                late.append(waiting)
        return late

    def take(self) -> list[Waiting]:
        """Remove and return the next batch, the shortest text first; empty if nothing waits.

        It holds the text with the nearest deadline, then its neighbours in length, the closest first, as far as
        the budget and the padding allow.
        """
        while self._by_deadline:
            place = self._place(heapq.heappop(self._by_deadline)[2])
            if place is not None:  # else it went with an earlier batch
                low, high = self._stretch(place)
                taken = [waiting for _, _, waiting in self._by_length[low:high]]
                del self._by_length[low:high]
                return taken
        return []

    def _place(self, waiting: Waiting) -> int | None:
        """Return a text's place in the order of length."""
        place = bisect.bisect_left(self._by_length, (waiting.tokens, waiting.order))
        is_here = place < len(self._by_length) and self._by_length[place][2] is waiting
        return place if is_here else None

    def _stretch(self, place: int) -> tuple[int, int]:
        """Return the range around a place that fits into one batch."""
        low, high = place, place + 1
        own = self._by_length[place][0]
        while True:
            # Both ends of the range that may be next, with their distance from the text it grew from.
            ends = [(own - self._by_length[low - 1][0], low - 1, high)] if low > 0 else []
            if high < len(self._by_length):
                ends.append((self._by_length[high][0] - own, low, high + 1))
            fitting = [end for end in sorted(ends) if self._fits(end[1], end[2])]
            if not fitting:
                return low, high
            _, low, high = fitting[0]

    def _fits(self, low: int, high: int) -> bool:
        shortest, longest = self._by_length[low][0], self._by_length[high - 1][0]
        is_close = longest <= shortest * _MAX_STRETCH + _FREE_PADDING_TOKENS
        return is_close and (high - low) * longest <= self.token_budget
