"""What a caller may still use, as headers: ``RateLimit-Policy`` and ``RateLimit``.

As https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers has them, structured fields of RFC 9651.
"""

import math
from collections.abc import Sequence
from typing import Final

from headrace.allowance import Allowance

KEY: Final = "allowances"
"""Under which a route leaves them in the state of a request."""

_REQUESTS: Final = "requests"  # what is counted where a policy does not say


def allowance_headers(allowances: Sequence[Allowance]) -> list[tuple[bytes, bytes]]:
    """Return the headers; none where nothing is limited.

    The policies are always in the same order; what is left is told of the first allowance alone, which is nearest to
    its end. Seconds are rounded up, so that nobody comes back too soon.
    """
    if not allowances:
        return []
    policies = ", ".join(sorted(map(_policy, allowances)))
    nearest = allowances[0]
    left = f'"{nearest.limit}";r={nearest.remaining}{_seconds("t", nearest.reset_s)}'
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]


def _policy(allowance: Allowance) -> str:
    unit = "" if allowance.unit == _REQUESTS else f';qu="{allowance.unit}"'
    return f'"{allowance.limit}";q={allowance.quota}{unit}{_seconds("w", allowance.window_s)}'


def _seconds(name: str, seconds: float | None) -> str:
    return "" if seconds is None else f";{name}={math.ceil(seconds)}"
