"""The port of the rate limiter."""

from typing import Protocol

from headrace.allowance import Allowance


class Limiter(Protocol):
    """Decides whether a caller may send one more request now."""

    async def acquire(self, caller: str, cost: float = 1.0) -> Allowance | None:
        """Take ``cost`` requests from the caller's allowance, and return what is left of it; nothing without a rate.

        Raises:
            LimitExceeded: The allowance is used up; ``retry_after_s`` says when it will do, and ``allowance`` what is
                left.
        """
        ...
