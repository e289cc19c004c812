"""Many requests in one, answered as they are ready: a line of JSON for each, or server-sent events.

The body is read while answers are written, and no further than there is room, so it may be as long as a client likes:
only each line is bounded. HTTP/1.1 allows that, and most clients that stream a body read the answer meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, cast

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headrace.api.native import ask_task, spell_answer
from headrace.api.responses import Problem
from headrace.api.rest.body import BODY_KEY
from headrace.api.rest.context import context_of, credentials_of, identify
from headrace.api.rest.disconnect import ClientLeft, while_connected
from headrace.api.rest.inference import circumstances
from headrace.api.rest.media import choose_media
from headrace.api.rest.openapi import PROBLEMS
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.refusals import STATUS
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.timeouts import within_timeout
from headrace.api.schemas import INPUTS, Lenient
from headrace.api.streams import ask_patiently, work_through
from headrace.api.validation import parse_json, validate
from headrace.errors import (
    CallerUnknown,
    HeadraceError,
    RequestInvalid,
    RequestTimeout,
    RequestTooLarge,
    RequestUnsupported,
    ServiceStopping,
)
from headrace.tasks import TASKS
from headrace.types import Answer, TaskName
from headrace.types import Request as ServiceRequest

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["native"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)

LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
_ACCEPTED: Final = frozenset({LINES, "application/jsonl", "application/jsonlines"})
_MOST_ID: Final = 256
_LOOK_S: Final = 0.5  # how often a silent stream looks whether the server stops


class StreamRequest(Lenient):
    """A line: which task, and what it is asked with."""

    id: str = Field(default="", max_length=_MOST_ID, description="Of the caller's choice; the answer has it.")
    task: str = Field(description="Such as embed; the other fields are those of that task's own route.")


class StreamAnswer(BaseModel):
    """A line of the answer, in the order in which they are ready."""

    id: str
    answer: dict[str, Any] | None = Field(default=None, description="As the task's own route answers.")
    error: Problem | None = Field(default=None, description="Why there is none; other lines are answered all the same.")


SHAPES: Final[tuple[type[BaseModel], ...]] = (StreamRequest, StreamAnswer)
"""What its routes refer to in the OpenAPI document."""


def _described(shape: type[BaseModel]) -> dict[str, Any]:
    return {LINES: {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}


@router.post(
    "/stream",
    summary="Ask for many things, and get each as it is ready",
    response_class=Response,
    responses={200: {"content": {**_described(StreamAnswer), EVENTS: {"schema": {"type": "string"}}}}},
    openapi_extra={"requestBody": {"required": True, "content": _described(StreamRequest)}},
)
async def stream(request: Request) -> Response:
    """Answer each line of the body, not in their order. Who sends faster than the server computes waits with it."""
    media = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media not in _ACCEPTED or request.headers.get("content-encoding", "identity") != "identity":
        raise RequestUnsupported(
            f"a stream is lines of JSON, plain; send 'content-type: {LINES}' and no content encoding",
            field="content-type",
        )
    return _Streamed(request, choose_media(request, (LINES, EVENTS)))


class _Streamed(Response):
    """Answers, one after the other, until the client has sent its last line and has its last answer."""

    def __init__(self, request: Request, media: str) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", "connection": "close"})
        self._request = request
        self._writing = asyncio.Lock()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await while_connected(self._request, self._run(send))

    async def _run(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        lines = _Lines(self._request)
        try:
            await work_through(lines.read(), partial(self._work, send))
            error = lines.error
        except CallerUnknown as unknown:
            error = unknown
        last = b"" if error is None else self._spell("", error=error)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _work(self, send: Send, line: bytes) -> None:
        context = context_of(self._request)
        context.guard.identify(credentials_of(self._request))  # a key may have ended since the last line
        name = ""
        try:
            content = parse_json(line)
            asked = validate(content, StreamRequest)
            name = asked.id
            answer = await ask_patiently(
                partial(self._ask, asked.task, content), context.settings.server.request_timeout_s
            )
        except HeadraceError as error:
            told = self._spell(name, error=error)
        else:
            told = self._spell(name, answer=answer)
        async with self._writing:
            await send({"type": "http.response.body", "body": told, "more_body": True})

    async def _ask(self, task: str, content: dict[str, Any]) -> Answer:
        if task not in TASKS:
            raise RequestInvalid(f"there is no task {task[:80]!r}; there are {', '.join(TASKS)}", field="task")
        known = cast("TaskName", task)
        fields = {name: value for name, value in content.items() if name not in StreamRequest.model_fields}
        question = ask_task(known, validate(fields, INPUTS[known]))
        context = context_of(self._request)
        with within_timeout(self._request, context.settings.server) as deadline:
            return await context.service.run(ServiceRequest(**question, **circumstances(self._request, deadline)))

    def _spell(self, name: str, *, answer: Answer | None = None, error: HeadraceError | None = None) -> bytes:
        fields: dict[str, Any] = {"id": name}
        if answer is not None:
            fields["answer"] = spell_answer(answer)
        if error is not None:
            request_id = self._request.scope["state"]["request_id"]
            fields["error"] = orjson.Fragment(PROBLEM.body(error, STATUS[type(error)], request_id))
        line = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
        return b"data: %b\n\n" % line if self.media_type == EVENTS else line + b"\n"


class _Lines:
    """The lines of a body, while it comes.

    Attributes:
        error: Why no more of them are read, if not because there are none: one is longer than a body may be, nothing
            came for as long as a request may take, or the server stops.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._context = context_of(request)
        self.error: HeadraceError | None = None

    async def read(self) -> AsyncIterator[bytes]:
        """Yield them; empty ones, which keep a connection alive, are none.

        Raises:
            ClientLeft: The client went away in the middle.
        """
        try:
            async for line in self._read():
                yield line
        except HeadraceError as error:
            self.error = error  # what was read before is answered first

    async def _read(self) -> AsyncIterator[bytes]:
        left = bytearray()
        async for part in self._parts():
            left += part
            *whole, rest = left.split(b"\n")
            left = bytearray(rest)
            for line in (*whole, *([left] if len(left) > self._most else ())):
                if len(line) > self._most:
                    raise RequestTooLarge(f"a line is longer than {self._most} bytes; send fewer texts in each")
                if line.strip():
                    yield bytes(line)
        if left.strip():
            yield bytes(left)

    @property
    def _most(self) -> int:
        return self._context.settings.server.max_body_bytes

    async def _parts(self) -> AsyncIterator[bytes]:
        whole: bytes | None = self._request.scope["state"].get(BODY_KEY)
        if whole is not None:
            yield whole
            return
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def _receive(self) -> Any:
        silent_s, limit_s = 0.0, self._context.settings.server.request_timeout_s
        while silent_s < limit_s:
            if self._context.is_draining:
                raise ServiceStopping("the server stops and reads no further; send the rest elsewhere", retry_after_s=1)
            try:
                async with asyncio.timeout(_LOOK_S):
                    return await self._request.receive()
            except TimeoutError:
                silent_s += _LOOK_S
        raise RequestTimeout(f"no line came for {limit_s:g} s; send an empty one now and then, or end the body")
