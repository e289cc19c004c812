"""How long a caller waits: until the server's limit, or for less if a header says so.

HTTP has no standard for it; ``X-Request-Timeout`` in seconds is the usual habit.
"""

import math
import re
import time
from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request

from headrace.errors import DeadlineExceeded, RequestInvalid, TimeoutElapsed
from headrace.settings import ServerSettings

HEADER: Final = "x-request-timeout"
_SECONDS: Final = re.compile(r"\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)  # as JSON has numbers

PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Seconds that the caller waits, from the arrival of the headers; no more than the server's own "
    "limit (`server.request_timeout_s`) counts. A request that cannot be answered by then is refused at once.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "examples": [1.5]},
}
"""For the OpenAPI document."""


class within_timeout:  # noqa: N801 - called as a function is
    """Give the point on the monotonic clock until which the caller of a request waits.

    Raises:
        RequestInvalid: The header has no number of seconds.
        TimeoutElapsed: Instead of ``DeadlineExceeded``, if it was the caller who wanted it sooner than the server does.
    """

    __slots__ = ("_limit_s", "_wanted_s")

    def __init__(self, request: Request, settings: ServerSettings) -> None:
        self._limit_s = settings.request_timeout_s
        self._wanted_s = _wanted_s(request.headers.getlist(HEADER))

    def __enter__(self) -> float:
        return time.monotonic() + min(self._limit_s, self._wanted_s)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DeadlineExceeded) and self._wanted_s < self._limit_s:
            raise TimeoutElapsed(
                f"the answer was not there within the {self._wanted_s:g} s of {HEADER};"
                " allow more time, or send less at once"
            ) from error


def _wanted_s(values: Sequence[str]) -> float:
    """Return the seconds that a caller waits; endless if it says nothing."""
    if not values:
        return math.inf
    shown = ", ".join(values)
    seconds = float(shown) if _SECONDS.fullmatch(shown) else 0.0
    if not seconds:
        raise RequestInvalid(
            f"{HEADER} is {shown[:80]!r}; give the seconds that you wait as one number over 0, such as 1.5",
            field=HEADER,
        )
    return seconds
