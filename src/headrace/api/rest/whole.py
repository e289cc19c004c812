"""Requests that come whole, in one piece, read at a glance.

A parser calls back for each part of a request. A refusal needs next to nothing of it: while thousands are refused a
second, on cores whose caches the engine has just filled, every line of code counts (11 µs instead of 32). So a plain
request is recognised by one expression, and one that is let in has its headers cut at their line ends. The expression
takes less than the parser does: what it does not know is left to the parser, and where a request ends and what its
headers say they never disagree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""

_END: Final = b"\r\n\r\n"
_VALUE: Final = rb"[ \t]*%b[ \t]*\r\n"
_LENGTH: Final = rb"(?i:content-length):" + _VALUE % rb"(?P<length>[0-9]{1,18})"
_KEPT: Final = rb"(?i:connection):" + _VALUE % rb"(?i:keep-alive)"  # which says nothing new
_ID: Final = rb"(?i:x-request-id):" + _VALUE % rb"(?P<%b>[!-~]{1,64})"
# What says where a body ends or what becomes of the connection is known here or left to the parser.
_TELLING: Final = rb"(?i:content-length|transfer-encoding|connection|proxy-connection|keep-alive|expect|upgrade):"
_OTHER: Final = rb"(?!" + _TELLING + rb")[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n"
_BEFORE, _AFTER = (b"(?:%b)*+" % b"|".join([_KEPT, _ID % name, _OTHER]) for name in (b"id", b"last_id"))
# No path of ours is as long as this, and what reads URLs counts their characters in 16 bits.
_PLAIN: Final = re.compile(rb"POST (?P<target>/[!-~]{0,8000}) HTTP/1\.1\r\n" + _BEFORE + _LENGTH + _AFTER + rb"\r\n")


@dataclass(frozen=True, slots=True)
class Whole:
    """A plain request that came in one piece.

    Attributes:
        target: As it stands in the request line.
        body_at: Where its body begins in what came.
        told: Of its headers, in lower case, the length and the request's id.
    """

    target: bytes
    body_at: int
    told: list[tuple[bytes, bytes]]


def read_whole(data: bytes, most_bytes: int) -> Whole | None:
    """Return a plain POST if this is exactly one, from its first byte to its last.

    Args:
        data: What came on a connection between two requests.
        most_bytes: Of the head.
    """
    found = _PLAIN.match(data)
    if found is None or found.end() > most_bytes or len(data) != found.end() + int(found["length"]):
        return None
    told = [(b"content-length", found["length"])]
    if (request_id := found["last_id"] or found["id"]) is not None:
        told.append((b"x-request-id", request_id))
    return Whole(found["target"], found.end(), told)


def read_headers(data: bytes, whole: Whole) -> list[tuple[bytes, bytes]]:
    """Return all headers of a request, their names in lower case."""
    headers = []
    for line in data[: whole.body_at - len(_END)].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip(b" \t")))
    return headers
