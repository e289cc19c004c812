"""What a caller may still send, as headers: ``RateLimit-Policy`` and ``RateLimit``.

As https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers has them, structured fields of RFC 9651.
"""

import math
from typing import Final

from headrace.allowance import Allowance

KEY: Final = "allowance"
"""Under which a route leaves it in the state of a request."""


def allowance_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """Return the headers; seconds are rounded up, so that nobody comes back too soon."""
    policy = f'"requests";q={allowance.quota};w={math.ceil(allowance.window_s)}'
    left = f'"requests";r={allowance.remaining};t={math.ceil(allowance.reset_s)}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]
