"""In which order examples are seen, and which of them are computed together.

Rows are drawn at random for some updates at a time and parted by length, so that those of an update are nearly as long
as each other and little is padding; then the updates are shuffled. What is still too much for one batch is cut where it
costs least. The order of an epoch follows from the seed and its number alone, so a training that was interrupted sees
next what it would have seen, and nothing has to be kept for that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

# What a batch costs beside its tokens, in tokens: starting some 200 operations forward and back.
_BATCH_COST: Final = 96
_MEASURING_BUDGET: Final = 4096  # tokens at a time; no activations are kept for a way back


@dataclass(frozen=True, slots=True)
class Update:
    """The rows whose mean gradient makes one step of the optimizer.

    Attributes:
        number: Over all epochs, from 0.
        epoch: From 0.
        rows: Shape ``(r,)``, indices of examples.
        batches: The same rows, cut into batches that are computed one after the other.
        ends_epoch: Whether it is the last of its epoch.
    """

    number: int
    epoch: int
    rows: Rows
    batches: tuple[Rows, ...]
    ends_epoch: bool


def count_updates(examples: int, rows: int) -> int:
    """Return the number of updates in an epoch; the last one may have fewer rows."""
    return -(-examples // rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """In which order examples are seen.

    Attributes:
        rows: Of one update.
        pool: Updates whose rows are drawn together, and then parted by length; 1 draws each by itself.
        token_budget: Most tokens of a batch, padding included; a longer example is a batch of its own.
        epochs: Times that every example is seen.
        seed: Of the drawing.
    """

    rows: int
    pool: int
    token_budget: int
    epochs: int
    seed: int

    def updates(self, lengths: Sequence[int], start: int = 0) -> Iterator[Update]:
        """Yield the updates of a training, from the number ``start`` on.

        Args:
            lengths: Tokens of each example.
            start: How many updates were done before.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        per_epoch = count_updates(len(sizes), self.rows)
        for epoch in range(start // per_epoch, self.epochs):
            for place, rows in enumerate(self._draw(sizes, epoch)):
                number = epoch * per_epoch + place
                if number >= start:
                    batches = cut(rows, sizes, self.token_budget)
                    yield Update(number, epoch, rows, batches, ends_epoch=place == per_epoch - 1)

    def _draw(self, sizes: NDArray[np.int64], epoch: int) -> Iterator[Rows]:
        """Yield the rows of each update of an epoch; only the last one has fewer than the others."""
        chooser = np.random.default_rng((self.seed, epoch))
        order = chooser.permutation(len(sizes))
        for begin in range(0, len(order), self.rows * self.pool):
            drawn = order[begin : begin + self.rows * self.pool]
            drawn = drawn[np.argsort(sizes[drawn], kind="stable")]
            parts = [drawn[place : place + self.rows] for place in range(0, len(drawn), self.rows)]
            whole = [part for part in parts if len(part) == self.rows]
            yield from (whole[place] for place in chooser.permutation(len(whole)))
            yield from parts[len(whole) :]


def in_order(lengths: Sequence[int]) -> tuple[Rows, ...]:
    """Return all rows in batches, for measuring: the longest first, so that too little memory shows at once."""
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        count = max(1, _MEASURING_BUDGET // max(1, int(sizes[order[begin]])))
        batches.append(order[begin : begin + count])
        begin += count
    return tuple(batches)


def cut(rows: Rows, lengths: NDArray[np.int64], token_budget: int) -> tuple[Rows, ...]:
    """Return the rows in batches whose tokens, padding included, and number together cost the least.

    Sorted by length, the cheapest cut of the first n rows is the cheapest of fewer and one more batch, over all places
    where that may begin: n² / 2 additions, for 32 rows less than half a millisecond. Where one batch has room for all
    and less padding than a second one costs, there is nothing to search.
    """
    order = rows[np.argsort(lengths[rows], kind="stable")]
    sizes = [int(size) for size in lengths[order]]
    padded = len(sizes) * sizes[-1]
    if padded <= token_budget and padded - sum(sizes) <= _BATCH_COST:
        return (order,)
    costs, begins = [0.0], [0]
    for end in range(1, len(sizes) + 1):
        longest = max(1, sizes[end - 1])
        first = max(0, end - max(1, token_budget // longest))
        cost, begin = min((costs[begin] + (end - begin) * longest + _BATCH_COST, begin) for begin in range(first, end))
        costs.append(cost)
        begins.append(begin)
    batches, end = [], len(sizes)
    while end:
        batches.append(order[begins[end] : end])
        end = begins[end]
    return tuple(reversed(batches))
