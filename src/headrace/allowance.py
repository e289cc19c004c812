"""What a caller may still send: said by answers and by refusals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many requests a caller may still send.

    Attributes:
        quota: At most so many at once, when nothing is used.
        window_s: In so many seconds as many come back.
        remaining: That may be sent now.
        reset_s: Seconds until it is whole again, if none is sent meanwhile.
    """

    quota: int
    window_s: float
    remaining: int
    reset_s: float
