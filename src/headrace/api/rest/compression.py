"""Answers compressed for clients that read it, whichever dialect they are of.

A whole answer is compressed at once, where it is sent. What is written piece by piece, such as events, is left as it
is: each piece must be readable when it comes. So are numbers as bytes, which hardly get smaller.
"""

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.types import Scope

from headrace.api.rest.headers import headers_of
from headrace.api.rest.weights import read_weights
from headrace.codings import CODINGS, Coding, compress

if TYPE_CHECKING:
    from headrace.api.context import Context

# Below it the answer and its head fit one packet of 1,500 bytes as they are.
_LEAST_BYTES: Final = 1024
# Up to it the event loop waits for 0.4 ms with zstd and 1.2 ms with gzip; a thread costs 0.1 to 0.3 ms.
_MOST_AT_ONCE_BYTES: Final = 64 << 10
_SHRINKING: Final = frozenset(
    {"application/json", "application/problem+json", "application/openmetrics-text", "text/plain"}
)
_IDENTITY: Final = "identity"
_NAME: Final = "accept-encoding"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a client says of codings.

    Attributes:
        coding: What it wants best of those that there are; nothing if it wants none.
        must: Whether it refuses what is not compressed.
    """

    coding: Coding | None
    must: bool = False


_NOTHING: Final = _Wanted(None)


async def pack(scope: Scope, response: Response) -> None:
    """Compress an answer, if it is whole, if its client reads it and if it pays; its headers say so.

    Args:
        scope: Of the request.
        response: Changed in place, before it is sent.
    """
    coding = choose_coding(scope, response)
    # To whoever keeps an answer it is said what decides between two; what comes of a POST is kept by nobody.
    if coding is None and (scope["method"] == "POST" or not (_pays(response) and _is_on(scope))):
        return
    if _NAME not in response.headers.get("vary", ""):
        response.headers.add_vary_header(_NAME)
    if coding is None:
        return
    if len(response.body) > _MOST_AT_ONCE_BYTES:
        response.body = await asyncio.to_thread(compress, response.body, coding)
    else:
        response.body = compress(response.body, coding)
    response.headers["content-encoding"] = coding
    response.headers["content-length"] = str(len(response.body))


def choose_coding(scope: Scope, response: Response) -> Coding | None:
    """Return what ``pack`` compresses an answer with: who gives it a strong ETag must have one for each coding."""
    if not getattr(response, "body", b""):
        return None
    values = headers_of(scope).getlist(_NAME)
    wanted = _read(",".join(values)) if values else _NOTHING  # as few clients expect it without
    if wanted.coding is None:
        return None
    return wanted.coding if (wanted.must or _pays(response)) and _is_on(scope) else None


def _pays(response: Response) -> bool:
    if len(getattr(response, "body", b"")) < _LEAST_BYTES:
        return False
    return response.headers.get("content-type", "").partition(";")[0] in _SHRINKING


def _is_on(scope: Scope) -> bool:
    context: Context = scope["state"]["context"]
    return context.settings.server.compress


@functools.lru_cache(maxsize=64)  # a client sends the same each time
def _read(header: str) -> _Wanted:
    """Read the header as RFC 9110, 12.5.3 has it."""
    wanted = read_weights(header)
    otherwise = wanted.get("*")
    weights = {name: wanted.get(name, otherwise or 0.0) for name in CODINGS}
    best = max(weights, key=weights.__getitem__)  # the first of those that are wanted alike
    plain = wanted.get(_IDENTITY, otherwise)
    if not weights[best] or (plain is not None and plain > weights[best]):
        return _NOTHING
    return _Wanted(best, must=plain == 0)
