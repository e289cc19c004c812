"""What one request uses of its caller's limits, from when it is let in until it has ended, however it ends."""

import asyncio
from collections.abc import Sequence
from typing import Self

from headrace.allowance import Allowance
from headrace.errors import DeadlineExceeded
from headrace.limits.base import NOTHING, Demand, Limiter, Reservation, estimate_tokens
from headrace.types import Text


class Bill:
    """Takes what a request will use on entering, and settles it with what was used on leaving.

    Attributes:
        tokens: Tokens that were computed for the request: none for what was remembered, or computed for another one.
        allowances: What is left when it has ended.
    """

    __slots__ = ("_demand", "_limiter", "_reservation", "allowances", "tokens")

    allowances: Sequence[Allowance]

    def __init__(self, limiter: Limiter, demand: Demand) -> None:
        self._limiter = limiter
        self._demand = demand
        self._reservation: Reservation = NOTHING
        self.tokens = 0
        self.allowances = ()

    async def __aenter__(self) -> Self:
        self._reservation = await self._limiter.acquire(self._demand)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.allowances = await self._reservation.settle(self.tokens)

    def computing(self, texts: Sequence[Text]) -> "_Computing":
        """Return a context in which texts are computed; whoever does adds their tokens.

        If nobody waits for them any more it is not known whether they were computed. They count as estimated: else a
        caller who always leaves too early would use the engine for nothing.
        """
        return _Computing(self, texts)

    def add_estimated(self, texts: Sequence[Text]) -> None:
        """Count texts of which it is not known whether they were computed."""
        self.tokens += estimate_tokens(texts, self._demand.window)


class _Computing:
    """Texts that are computed; entered once."""

    __slots__ = ("_bill", "_texts")

    def __init__(self, bill: Bill, texts: Sequence[Text]) -> None:
        self._bill = bill
        self._texts = texts

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError | DeadlineExceeded):
            self._bill.add_estimated(self._texts)
