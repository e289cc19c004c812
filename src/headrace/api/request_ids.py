"""The id of a request, by which its answer, the log and the caller's own log are brought together."""

import itertools
import re
import secrets
from typing import Final

_ALLOWED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Drawn once for each process, then counted: nothing is kept secret by an id, and asking the kernel for 16 random bytes
# takes a quarter of the time of a refusal.
_PREFIX: Final = secrets.token_hex(8)
_NUMBERS: Final = itertools.count()


def choose_request_id(given: str | None) -> str:
    """Keep the caller's id if it can do no harm in a header or a log, else make one."""
    return given if given and _ALLOWED.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"{_PREFIX}{next(_NUMBERS):016x}"
