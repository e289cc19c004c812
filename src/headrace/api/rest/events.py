"""What happens, told while it does: server-sent events, as browsers and ``curl`` read them (HTML standard, 9.2)."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headrace.api.rest.context import context_of, credentials_of, identify
from headrace.api.rest.disconnect import cut_after, while_connected
from headrace.api.rest.openapi import PROBLEMS
from headrace.api.rest.query import read_query
from headrace.api.rest.route import DirectRoute
from headrace.events.base import Event, ReaderDropped
from headrace.events.kinds import SUBJECTS
from headrace.readers import Reader, last_words

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["events"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)

_MEDIA: Final = "text/event-stream"
_HEADERS: Final = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would keep what is told until it is 4 KiB
    "connection": "close",  # there is no next request: who was slow need not be waited for
}
_RETRY_MS: Final = (1000, 4000)  # not all at once, when a server with many readers is started anew
_SILENCE: Final = b":\n\n"
_MOST_BYTES: Final = 1 << 16  # of one part: what the server keeps of what a client has not read
_CUT_S: Final = 1.0  # for what was said last

_POSITION: Final = {"type": "string", "pattern": "^[0-9]{1,20}(-[0-9]{1,20})?$"}
_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "last-event-id",
        "in": "header",
        "required": False,
        "description": "Go on after this event; browsers send it when they come back. It wins over `after`.",
        "schema": _POSITION,
    },
    {
        "name": "after",
        "in": "query",
        "required": False,
        "description": "The same, for the first time; `0` begins with the oldest that is kept.",
        "schema": _POSITION,
    },
    {
        "name": "subject",
        "in": "query",
        "required": False,
        "description": "Only events of these subjects, separated by commas.",
        "style": "form",
        "explode": False,
        "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(SUBJECTS)}},
    },
]
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events, as long as the client stays.", "content": {_MEDIA: {"schema": {"type": "string"}}}}
}


@router.get(
    "/events",
    summary="Follow what happens",
    response_class=Response,
    responses=_ANSWER,
    openapi_extra={"parameters": _PARAMETERS},
)
async def follow(request: Request) -> Response:
    """Tell events while they happen, those that the caller may see: each with an `id`, its subject and JSON."""
    given = read_query(request, ("after", "subject"))
    after = request.headers.get("last-event-id") or given.get("after")
    subjects = given["subject"].split(",") if "subject" in given else None
    context = context_of(request)
    identity = partial(context.guard.identify, credentials_of(request))
    return _Told(request, context.readers.open(identity, after, subjects))


class _Told(Response):
    """Events, one after the other, until the client leaves or is told nothing more."""

    media_type = _MEDIA

    def __init__(self, request: Request, reader: Reader) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._request = request
        self._reader = reader

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            with self._reader:
                await while_connected(self._request, self._tell(send))
        except ReaderDropped as dropped:
            cut_after(self._request, _CUT_S)
            await while_connected(self._request, _write(send, _frame(last_words(dropped)), is_last=True))

    async def _tell(self, send: Send) -> None:
        async with self._reader.taking():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _write(send, b"retry: %d\n\n" % random.randint(*_RETRY_MS))  # noqa: S311 - no secret
        while True:
            for part in _parts(await self._reader.next()):
                async with self._reader.taking():
                    await _write(send, part)


async def _write(send: Send, part: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": not is_last})


def _parts(events: Sequence[Event]) -> Iterator[bytes]:
    """Yield what is written, in parts of a bounded size; a comment, which nobody reads, if there is nothing."""
    part = b""
    for event in events:
        frame = _frame(event)
        if part and len(part) + len(frame) > _MOST_BYTES:
            yield part
            part = b""
        part += frame
    yield part or _SILENCE


def _frame(event: Event) -> bytes:
    """Return an event as it is written; nothing in it can end a line but we."""
    place = b"id: %b\n" % event.id.encode() if event.id else b""
    return b"%bevent: %b\ndata: %b\n\n" % (place, event.subject.encode(), event.spelled)
