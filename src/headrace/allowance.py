"""What a caller may still use: said by answers and by refusals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much is left of one limit.

    Attributes:
        limit: Its name.
        unit: What is counted: ``requests``, ``tokens`` or ``concurrent-requests``.
        quota: At most so much at once, or in a period, when nothing is used.
        window_s: In so many seconds as much comes back; nothing where that is when requests end.
        remaining: That may be used now.
        reset_s: Seconds until it is whole again, if none is used meanwhile; nothing as of the window.
    """

    limit: str
    unit: str
    quota: int
    window_s: float | None
    remaining: int
    reset_s: float | None
