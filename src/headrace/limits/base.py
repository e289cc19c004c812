"""The port of the rate limiter."""

from typing import Protocol


class Limiter(Protocol):
    """Decides whether a caller may send one more request now."""

    async def acquire(self, caller: str, cost: float = 1.0) -> None:
        """Take ``cost`` requests from the caller's allowance.

        Raises:
            LimitExceeded: The allowance is used up; ``retry_after_s`` says when it will do.
        """
        ...
