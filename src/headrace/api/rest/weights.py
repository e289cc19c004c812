"""What a client wants, and how much: the lists of ``Accept`` and ``Accept-Encoding``."""

import re
from typing import Final

_QUALITY: Final = re.compile(r"(?:^|;)\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")
_MOST: Final = 64  # things that are read of one list: a header may have 8,000, and browsers name ten


def read_weights(header: str) -> dict[str, float]:
    """Return what a list names in lower case, each with how much it is wanted, 0 to 1 (RFC 9110, 12.4.2)."""
    found = {}
    for part in header.lower().split(",", _MOST)[:_MOST]:
        name, _, parameters = part.partition(";")
        quality = _QUALITY.search(parameters)
        found[name.strip()] = float(quality[1]) if quality else 1.0
    return found
