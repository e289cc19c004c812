"""Which texts run together: a bounded choice by length and time, made anew for each batch.

Tenants take turns, and of the texts of the one whose turn it is, that which is due first is always in the next batch,
which keeps every text moving. For a runtime that pads, a batch costs its longest text times its number of texts, so the
rest of the batch is filled with neighbours in length; for one that does not, with those whose turn is next, short ones
apart from long ones: a batch of short ones may be computed while one of long ones rests. Nothing waits for company:
what is there runs.
"""

import asyncio
import bisect
import itertools
from dataclasses import dataclass, field
from typing import Final

from headrace.engine.base import Bell, Encoding, Output
from headrace.engine.turns import Accounts, Line, Order

# A neighbour is taken along while padding makes it at most this much longer, plus a few tokens: below that
# a text costs less in its own batch later.
_MAX_STRETCH: Final = 1.25
_FREE_PADDING_TOKENS: Final = 8
# From here on a text is long: whoever waits for it waits for more than is computed between two of its layers.
_LONG_TOKENS: Final = 128
# A batch of short texts cannot rest, so that others wait for all of it, and short ones gain nothing from more of them.
_SHORT_SHARE: Final = 2


@dataclass(slots=True, eq=False, kw_only=True)
class Waiting:
    """One text in the queue.

    Attributes:
        number: Its number among all texts of this process.
        order: Its number among the texts of this queue, which the queue gives.
        deadline: Point on the monotonic clock after which it is not computed.
        due: Point on the monotonic clock that decides whose turn it is among those of its tenant.
        tenant: Who shares the engine with others; empty where there is only one.
        queued_at: Point on the monotonic clock when it came.
        future: Resolved with the output or an error; done already if the caller has left.
        started_at: Point on the monotonic clock when its batch was formed.
    """

    encoding: Encoding
    deadline: float
    queued_at: float
    future: asyncio.Future[Output]
    due: float = 0.0
    tenant: str = ""
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
    _short: Line[Waiting] = field(default_factory=Line)
    _long: Line[Waiting] = field(default_factory=Line)
    _accounts: Accounts[Waiting] = field(init=False)
    _by_deadline: Order[Waiting] = field(init=False)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._accounts = Accounts(lambda: (Order(self._is_here), Order(self._is_here)))
        self._by_deadline = Order(self._is_here)

    def __len__(self) -> int:
        return len(self._by_length)

    def put(self, waiting: Waiting) -> None:
        """Add a text."""
        self.bell.add(int(not waiting.is_long))
        waiting.order = next(self._count)
        bisect.insort(self._by_length, (waiting.tokens, waiting.order, waiting))
        account = self._accounts.enter(waiting.tenant)
        line, order = (self._long if waiting.is_long else self._short), account.orders[waiting.is_long]
        order.push(waiting, waiting.due, account.waiting)
        line.list(account, order)
        self._by_deadline.push(waiting, waiting.deadline, len(self._by_length))

    def discard(self, waiting: Waiting) -> None:
        """Remove a text that nobody waits for any more, if it is still here: it must take no room of the living."""
        place = self._place(waiting)
        if place is not None:
            self._remove(place, place + 1)

    def expire(self, now: float) -> list[Waiting]:
        """Remove and return the texts whose deadline has passed."""
        late = []
        while (waiting := self._by_deadline.first()) is not None and waiting.deadline <= now:
            self.discard(waiting)
            late.append(waiting)
        return late

    def take(self) -> list[Waiting]:
        """Remove and return the next batch; empty if nothing waits.

        It holds the text that is due first of the tenant whose turn it is. With padding, its neighbours in length are
        added, the closest first, as far as the budget and the padding allow, and the shortest comes first; without,
        those whose turn is next and that are as long or as short as it.
        """
        turns = [turn for line in (self._short, self._long) if (turn := line.first()) is not None]
        if not turns:
            return []
        account, first = min(turns, key=lambda turn: (turn[0].clock, turn[1].due, turn[1].order))
        if not self.has_padding:
            return self._take_due(self._long, self.token_budget) if first.is_long else self.take_short()
        self._accounts.come(account, first.tokens)
        # A neighbour is taken along for a tenant that is ahead, too, but not for one that is ahead by a batch.
        latest = account.clock + self.token_budget
        low, high = self._stretch(bisect.bisect_left(self._by_length, (first.tokens, first.order)), latest)
        for _, _, waiting in self._by_length[low:high]:
            self._accounts.charge(waiting.tenant, waiting.tokens)
        return self._remove(low, high)

    def take_short(self) -> list[Waiting]:
        """Remove and return a batch of short texts, those whose turn is first; empty if none wait.

        It has half of the budget.
        """
        return self._take_due(self._short, self.token_budget // _SHORT_SHARE)

    def _take_due(self, line: Line[Waiting], budget: int) -> list[Waiting]:
        taken: list[Waiting] = []
        tokens = 0
        while (turn := line.first()) is not None:
            account, waiting = turn
            tokens += waiting.tokens
            if taken and tokens > budget:
                break
            self._accounts.come(account, waiting.tokens)
            self._accounts.charge(waiting.tenant, waiting.tokens)
            self.discard(waiting)
            taken.append(waiting)
        return taken

    def _remove(self, low: int, high: int) -> list[Waiting]:
        removed = [waiting for _, _, waiting in self._by_length[low:high]]
        del self._by_length[low:high]
        self.bell.add(-sum(not waiting.is_long for waiting in removed))
        for waiting in removed:
            self._accounts.leave(waiting.tenant)
        if not self._by_length:
            self._begin_anew()
        return removed

    def _begin_anew(self) -> None:
        """Forget who was given how much: nothing waits, so nobody was preferred to anybody."""
        self._accounts.clear()
        self._short.clear()
        self._long.clear()

    def _is_here(self, waiting: Waiting) -> bool:
        return self._place(waiting) is not None

    def _place(self, waiting: Waiting) -> int | None:
        """Return a text's place in the order of length."""
        place = bisect.bisect_left(self._by_length, (waiting.tokens, waiting.order))
        is_here = place < len(self._by_length) and self._by_length[place][2] is waiting
        return place if is_here else None

    def _stretch(self, place: int, latest: int) -> tuple[int, int]:
        """Return the range around a place that fits into one batch, of tenants whose clocks are not over the latest."""
        low, high = place, place + 1
        own = self._by_length[place][0]
        while True:
            # Both ends of the range that may be next, with their distance from the text it grew from.
            ends = [(own - self._by_length[low - 1][0], low - 1, high)] if self._may_come(low - 1, latest) else []
            if self._may_come(high, latest):
                ends.append((self._by_length[high][0] - own, low, high + 1))
            fitting = [end for end in sorted(ends) if self._fits(end[1], end[2])]
            if not fitting:
                return low, high
            _, low, high = fitting[0]

    def _may_come(self, place: int, latest: int) -> bool:
        if not 0 <= place < len(self._by_length):
            return False
        return self._accounts.clock_of(self._by_length[place][2].tenant) <= latest

    def _fits(self, low: int, high: int) -> bool:
        shortest, longest = self._by_length[low][0], self._by_length[high - 1][0]
        is_close = longest <= shortest * _MAX_STRETCH + _FREE_PADDING_TOKENS
        return is_close and (high - low) * longest <= self.token_budget
