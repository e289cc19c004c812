"""How many requests a caller may send, and what a refusal says; the same wherever it is counted."""

from dataclasses import dataclass
from typing import Final

from headrace.allowance import Allowance
from headrace.errors import LimitExceeded

_ROUNDING: Final = 1e-6  # of a request: 2.9999999 of them are 3


@dataclass(frozen=True, slots=True)
class Rate:
    """A sustained rate with a burst.

    Attributes:
        per_s: Requests per second in the long run.
        burst: Requests at once.
    """

    per_s: float
    burst: int

    @property
    def room_s(self) -> float:
        """Seconds in which an empty allowance fills."""
        return self.burst / self.per_s

    def allowance(self, full_in_s: float) -> Allowance:
        """Return what is left of an allowance that will be full after so many seconds."""
        left = int(max(0.0, (self.room_s - full_in_s) * self.per_s + _ROUNDING))
        return Allowance(quota=self.burst, window_s=self.room_s, remaining=left, reset_s=max(0.0, full_in_s))

    def require_payable(self, caller: str, cost: float) -> None:
        """Let a cost pass that a full allowance has room for.

        Raises:
            LimitExceeded: It has not, and waiting does not help.
        """
        if cost > self.burst:
            raise LimitExceeded(
                f"one request of {caller!r} costs {cost:g} and at most {self.burst} are allowed at once; "
                "send less in one request or raise limits.burst"
            )

    def refuse(self, caller: str, wait_s: float, full_in_s: float) -> LimitExceeded:
        """Return the refusal of a caller who has to wait.

        Args:
            caller: Who.
            wait_s: How long until the request is allowed.
            full_in_s: How long until the whole allowance is back.
        """
        refusal = LimitExceeded(
            f"{caller!r} is over {self.per_s:g} requests per second "
            f"(and {self.burst} at once); ask again in {wait_s:.3f} s",
            retry_after_s=wait_s,
        )
        refusal.allowance = self.allowance(full_in_s)
        return refusal
