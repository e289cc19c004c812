"""Which texts run together: a bounded choice by length and time, made anew for each batch.

The text that is due first is always in the next batch, which keeps every text moving. For a runtime that pads, a batch
costs its longest text times its number of texts, so the rest of the batch is filled with neighbours in length; for one
that does not, with those that are due next, short ones apart from long ones: a batch of short ones may be computed
while one of long ones rests. Nothing waits for company: what is there runs.
"""

import asyncio
import bisect
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from headrace.engine.base import Bell, Encoding, Output

# A neighbour is taken along while padding makes it at most this much longer, plus a few tokens: below that
# a text costs less in its own batch later.
_MAX_STRETCH: Final = 1.25
_FREE_PADDING_TOKENS: Final = 8
# From here on a text is long: whoever waits for it waits for more than is computed between two of its layers.
_LONG_TOKENS: Final = 128
# A batch of short texts cannot rest, so that others wait for all of it, and short ones gain nothing from more of them.
_SHORT_SHARE: Final = 2
# A text that left stays in an order until it comes up there, or until so many have gathered that clearing them out
# costs less than keeping them.
_MAX_GONE: Final = 1024


@dataclass(slots=True, eq=False, kw_only=True)
class Waiting:
    """One text in the queue.

    Attributes:
        number: Its number among all texts of this process.
        order: Its number among the texts of this queue, which the queue gives.
        deadline: Point on the monotonic clock after which it is not computed.
        due: Point on the monotonic clock that decides whose turn it is.
        queued_at: Point on the monotonic clock when it came.
        future: Resolved with the output or an error; done already if the caller has left.
        started_at: Point on the monotonic clock when its batch was formed.
    """

    encoding: Encoding
    deadline: float
    queued_at: float
    future: asyncio.Future[Output]
    due: float = 0.0
    number: int = 0
    order: int = -1
    started_at: float = 0.0
    run_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Length in tokens."""
        return len(self.encoding.ids)

    @property
    def is_long(self) -> bool:
        """Whether others should not have to wait until all of it is computed."""
        return self.tokens >= _LONG_TOKENS


@dataclass(slots=True)
class _Order:
    """Texts by a point in time. Those that have left are passed over when they come up."""

    at: Callable[[Waiting], float]
    _heap: list[tuple[float, int, Waiting]] = field(default_factory=list)

    def push(self, waiting: Waiting) -> None:
        heapq.heappush(self._heap, (self.at(waiting), waiting.order, waiting))

    def first(self, is_here: Callable[[Waiting], bool]) -> Waiting | None:
        """Return the first text that is still here, and leave it in."""
        while self._heap and not is_here(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def clean(self, here: "list[tuple[int, int, Waiting]]") -> None:
        """Forget those that have left, if there are too many of them."""
        if len(self._heap) > 2 * len(here) + _MAX_GONE:
            self._heap = [(self.at(waiting), order, waiting) for _, order, waiting in here]
            heapq.heapify(self._heap)


@dataclass(slots=True)
class Batcher:
    """The texts that wait for one model. Single owner: the event loop.

    Args:
        token_budget: Most tokens of one batch, padding included; a text longer than that runs alone.
        has_padding: Whether the runtime computes as many tokens for every text as the longest one of the batch has.

    Attributes:
        bell: Counts the short texts that wait, for which a batch of long ones may rest.
    """

    token_budget: int
    has_padding: bool = True
    bell: Bell = field(default_factory=Bell)
    _by_length: list[tuple[int, int, Waiting]] = field(default_factory=list)
    _short: _Order = field(default_factory=lambda: _Order(lambda waiting: waiting.due))
    _long: _Order = field(default_factory=lambda: _Order(lambda waiting: waiting.due))
    _by_deadline: _Order = field(default_factory=lambda: _Order(lambda waiting: waiting.deadline))
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self._by_length)

    def put(self, waiting: Waiting) -> None:
        """Add a text."""
        self.bell.add(int(not waiting.is_long))
        waiting.order = next(self._count)
        bisect.insort(self._by_length, (waiting.tokens, waiting.order, waiting))
        for order in (self._long if waiting.is_long else self._short, self._by_deadline):
            order.push(waiting)
            order.clean(self._by_length)

    def discard(self, waiting: Waiting) -> None:
        """Remove a text that nobody waits for any more, if it is still here: it must take no room of the living."""
        place = self._place(waiting)
        if place is not None:
            self._remove(place, place + 1)

    def expire(self, now: float) -> list[Waiting]:
        """Remove and return the texts whose deadline has passed."""
        late = []
        while (waiting := self._by_deadline.first(self._is_here)) is not None and waiting.deadline <= now:
            self.discard(waiting)
            late.append(waiting)
        return late

    def take(self) -> list[Waiting]:
        """Remove and return the next batch; empty if nothing waits.

        It holds the text that is due first. With padding, its neighbours in length are added, the closest first, as
        far as the budget and the padding allow, and the shortest comes first; without, those that are due next and as
        long or as short as it.
        """
        firsts = [first for order in (self._short, self._long) if (first := order.first(self._is_here)) is not None]
        if not firsts:
            return []
        first = min(firsts, key=lambda waiting: (waiting.due, waiting.order))
        if not self.has_padding:
            return self._take_due(self._long, self.token_budget) if first.is_long else self.take_short()
        low, high = self._stretch(bisect.bisect_left(self._by_length, (first.tokens, first.order)))
        return self._remove(low, high)

    def take_short(self) -> list[Waiting]:
        """Remove and return a batch of short texts, those that are due first; empty if none wait.

        It has half of the budget.
        """
        return self._take_due(self._short, self.token_budget // _SHORT_SHARE)

    def _take_due(self, order: _Order, budget: int) -> list[Waiting]:
        taken: list[Waiting] = []
        tokens = 0
        while (waiting := order.first(self._is_here)) is not None:
            tokens += waiting.tokens
            if taken and tokens > budget:
                break
            self.discard(waiting)
            taken.append(waiting)
        return taken

    def _remove(self, low: int, high: int) -> list[Waiting]:
        removed = [waiting for _, _, waiting in self._by_length[low:high]]
        del self._by_length[low:high]
        self.bell.add(-sum(not waiting.is_long for waiting in removed))
        return removed

    def _is_here(self, waiting: Waiting) -> bool:
        return self._place(waiting) is not None

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
