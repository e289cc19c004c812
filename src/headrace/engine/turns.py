"""Whose turn it is among tenants: self-clocked fair queueing, counted in tokens (Golestani, INFOCOM 1994).

Each tenant has a clock of its own, which goes on by as many tokens as were computed for it, and the tenant whose clock
is behind comes next. So those who always have something waiting get the same number of tokens each, whatever they send
and however many ask for them. Who comes later starts at the time at which whoever came last ended: it neither catches
up on what it did not want before nor pays for what nobody else wanted, and however many come anew, nobody who was there
waits for ever.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

# What left stays in an order until it comes up there, or until so many have gathered that clearing them out costs less
# than keeping them.
_MAX_GONE: Final = 256
# Accounts in which nothing waits are looked through when there are so many more than the last time.
_MANY: Final = 64


class Queued(Protocol):
    """What an order needs to know of what is in it."""

    @property
    def order(self) -> int:
        """Its number in the queue, which decides between two that are equal."""
        ...


T = TypeVar("T", bound=Queued)


@dataclass(slots=True)
class Order(Generic[T]):
    """What waits, by a point in time. What has left is passed over when it comes up.

    Args:
        is_here: Whether it still waits.

    Attributes:
        is_listed: Whether it is in the list of those whose turn may come.
    """

    is_here: Callable[[T], bool]
    is_listed: bool = False
    _heap: list[tuple[float, int, T]] = field(default_factory=list)

    def push(self, item: T, at: float, living: int) -> None:
        """Add something.

        Args:
            item: What waits.
            at: The point in time.
            living: About how many are in it and still here.
        """
        heapq.heappush(self._heap, (at, item.order, item))
        if len(self._heap) > 2 * living + _MAX_GONE:
            self._heap = [entry for entry in self._heap if self.is_here(entry[2])]
            heapq.heapify(self._heap)

    def first(self) -> T | None:
        """Return the first that is still here, and leave it in."""
        while self._heap and not self.is_here(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None


@dataclass(slots=True, eq=False)
class Account(Generic[T]):
    """What one tenant has waiting, and its clock.

    Attributes:
        orders: One for each line.
        waiting: How many it has in all of them.
        clock: In tokens.
    """

    orders: tuple[Order[T], ...]
    waiting: int = 0
    clock: int = 0


class Accounts(Generic[T]):
    """The accounts of all tenants that have something waiting, or had more than the others.

    Args:
        open_orders: Returns the orders of an account.
    """

    def __init__(self, open_orders: Callable[[], tuple[Order[T], ...]]) -> None:
        self._open_orders = open_orders
        self._accounts: dict[str, Account[T]] = {}
        self._now = 0  # where the last turn ended
        self._many = _MANY

    def __len__(self) -> int:
        return len(self._accounts)

    def enter(self, tenant: str) -> Account[T]:
        """Count one more that waits, and return the account."""
        account = self._accounts.get(tenant)
        if account is None:
            if len(self._accounts) >= self._many:
                self._tidy()
            account = self._accounts[tenant] = Account(self._open_orders())
        if not account.waiting:
            account.clock = max(account.clock, self._now)
        account.waiting += 1
        return account

    def leave(self, tenant: str) -> None:
        """Count one less that waits."""
        self._accounts[tenant].waiting -= 1

    def come(self, account: Account[T], tokens: int) -> None:
        """Take note of a turn: whose it is, and how much of it is computed in any case."""
        self._now = max(self._now, account.clock + tokens)

    def clock_of(self, tenant: str) -> int:
        """Return the clock of a tenant that has something waiting."""
        return self._accounts[tenant].clock

    def charge(self, tenant: str, tokens: int) -> None:
        """Set a tenant's clock forward by what is computed for it."""
        self._accounts[tenant].clock += tokens

    def clear(self) -> None:
        """Forget all accounts."""
        self._accounts.clear()

    def _tidy(self) -> None:
        """Forget the accounts that say nothing any more: nothing waits there, and the others have caught up."""
        self._accounts = {
            tenant: account
            for tenant, account in self._accounts.items()
            if account.waiting or account.clock > self._now
        }
        self._many = _MANY + 2 * len(self._accounts)


class Line(Generic[T]):
    """Tenants that have something of one kind waiting, in the order of their clocks."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Account[T], Order[T]]] = []
        self._count = itertools.count()  # of two whose clocks are equal, that comes first which was listed first

    def list(self, account: Account[T], order: Order[T]) -> None:
        """See to it that the turn of an account comes."""
        if not order.is_listed:
            order.is_listed = True
            heapq.heappush(self._heap, (account.clock, next(self._count), account, order))

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()

    def first(self) -> tuple[Account[T], T] | None:
        """Return whose turn it is and the first that it has waiting, and leave it in."""
        while self._heap:
            clock, number, account, order = self._heap[0]
            item = order.first()
            if item is None:
                heapq.heappop(self._heap)
                order.is_listed = False
            elif clock < account.clock:  # clocks only go forward, so it is enough to look at who is at the head
                heapq.heapreplace(self._heap, (account.clock, number, account, order))
            else:
                return account, item
        return None
