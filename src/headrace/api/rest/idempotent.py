"""``Idempotency-Key``: whoever changes something and has no answer asks again, and it is done once.

As draft-ietf-httpapi-idempotency-key-header has it: a string of structured fields (RFC 9651), or the same without
quotes.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.context import caller_of, context_of
from headrace.api.rest.reply import json_response
from headrace.errors import RequestInvalid
from headrace.types import Scope

HEADER: Final = "idempotency-key"
_MOST: Final = 255
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,510})"')
_BARE: Final = re.compile(r"[!#-+\--:<-~]{1,255}")  # without what begins a string, a parameter or another value

PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A string of the caller's choice, such as a UUID, new for each request and the same when it is sent"
    " again: for 24 hours it is done once, and answered as the first time with the header `idempotent-replayed`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _MOST},
}
"""For the OpenAPI document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request.

    Attributes:
        shown_once: Name of the field of ``content`` that is a secret, and is kept nowhere.
    """

    content: Mapping[str, Any]
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    shown_once: str | None = None


async def answer_once(
    request: Request, scope: Scope, asked: BaseModel | None, work: Callable[[], Awaitable[Outcome]]
) -> Response:
    """Do a request once for each idempotency key, and answer it; as often as it comes if it has none.

    Args:
        request: Whose method and path say what is asked, together with ``asked``.
        scope: That the caller needs for it.
        asked: The body, as far as it has one.
        work: Does it.

    Raises:
        RequestInvalid: The header is no such key.
        HeadraceError: As of ``Idempotency.turn`` and of ``work``.
    """
    key = read_key(request.headers.getlist(HEADER))
    if key is None:
        return _respond(await work())
    body = None if asked is None else asked.model_dump(mode="json")
    told = orjson.dumps([request.method, request.scope["path"], body], option=orjson.OPT_SORT_KEYS)
    async with context_of(request).idempotency.turn(caller_of(request), scope, key, told) as turn:
        if turn.answer is not None:
            response = _respond(Outcome(**orjson.loads(turn.answer)))
            response.headers["idempotent-replayed"] = "true"
            return response
        outcome = await work()
        content = dict(outcome.content)
        if outcome.shown_once is not None:
            content[outcome.shown_once] = None
        turn.keep(orjson.dumps({"content": content, "status": outcome.status, "headers": dict(outcome.headers)}))
        return _respond(outcome)


def read_key(values: list[str]) -> str | None:
    """Return the key that the header has, if there is one; raises ``RequestInvalid``."""
    if not values:
        return None
    shown = values[0].strip()
    if len(values) == 1 and (quoted := _QUOTED.fullmatch(shown)):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
        if len(key) <= _MOST:
            return key
    if len(values) == 1 and _BARE.fullmatch(shown):
        return shown
    raise RequestInvalid(  # what stands there is not repeated: an API key may have slipped a line
        f"send one {HEADER} of 1 to {_MOST} visible ASCII characters, in quotes or without, such as a UUID",
        field=HEADER,
    )


def _respond(outcome: Outcome) -> Response:
    response = json_response(outcome.content)
    response.status_code = outcome.status
    response.headers.update(outcome.headers)
    return response
