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
        deadline: Point on the monotonic clock after which it is not computed.
        queued_at: Point on the monotonic clock when it came.
        future: Resolved with the output or an error; done already if the caller has left.
        started_at: Point on the monotonic clock when its batch was formed.
    """

    encoding: Encoding
    deadline: float
    queued_at: float
    future: asyncio.Future[Output]
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
        number = next(self._count)
        bisect.insort(self._by_length, (waiting.tokens, number, waiting))
        heapq.heappush(self._by_deadline, (waiting.deadline, number, waiting))
        if len(self._by_deadline) > 2 * len(self._by_length) + _MAX_GONE:
            self._by_deadline = [(text.deadline, number, text) for _, number, text in self._by_length]
            heapq.heapify(self._by_deadline)

    def take(self) -> list[Waiting]:
        """Remove and return the next batch, the shortest text first; empty if nothing waits.

        It holds the text with the nearest deadline, then its neighbours in length as far as the budget and
        the padding allow. Texts nobody waits for any more are dropped on the way.
        """
        position = self._urgent()
        if position is None:
            return []
        low, high = self._stretch(position)
        taken = self._by_length[low:high]
        del self._by_length[low:high]
        return [waiting for _, _, waiting in taken if not waiting.future.done()]

    def _urgent(self) -> int | None:
        """Return the place, in order of length, of the text with the nearest deadline."""
        while self._by_deadline:
            _, number, waiting = heapq.heappop(self._by_deadline)
            place = bisect.bisect_left(self._by_length, (waiting.tokens, number))
            if place == len(self._by_length) or self._by_length[place][1] != number:
                continue  # it went with an earlier batch
            if not waiting.future.done():
                return place
            del self._by_length[place]
        return None

    def _stretch(self, position: int) -> tuple[int, int]:
        """Return the range around a place that fits into one batch, the closest lengths first."""
        low, high = position, position + 1
        longest = self._by_length[position][0]
        while True:
            shorter = self._by_length[low - 1][0] if low > 0 else None
            longer = self._by_length[high][0] if high < len(self._by_length) else None
            shortest = self._by_length[low][0]
            if shorter is not None and self._fits(high - low + 1, shorter, longest):
                low -= 1
            elif longer is not None and self._fits(high - low + 1, shortest, longer):
                high, longest = high + 1, longer
            else:
                return low, high

    def _fits(self, texts: int, shortest: int, longest: int) -> bool:
        stretched = shortest * _MAX_STRETCH + _FREE_PADDING_TOKENS
        return texts * longest <= self.token_budget and longest <= stretched
