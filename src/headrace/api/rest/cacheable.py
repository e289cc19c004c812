"""Answers that others may keep: one short text, asked for by GET, with an ETag.

A browser or a CDN keeps what comes of a GET and not what comes of a POST. So the answer says nothing that is another
thing the next time (no timings, no counts of what was remembered), and its ETag is a digest of its bytes, with the name
of what they are compressed with.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.responses import (
    ClassifyResult,
    EmbedResult,
    ExtractResult,
    FillResult,
    Kept,
    RegressResult,
)
from headrace.api.rest.compression import choose_coding
from headrace.api.rest.context import context_of, identify
from headrace.api.rest.inference import PARAMETERS, ask, circumstances
from headrace.api.rest.openapi import PROBLEMS
from headrace.api.rest.query import read_query
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.timeouts import within_timeout
from headrace.errors import RequestInvalid, RequestTooLarge
from headrace.settings import CacheSettings
from headrace.tasks import spell
from headrace.types import Request as ServiceRequest
from headrace.types import TaskName

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["native"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)

_LONGEST: Final = 2048  # characters: what proxies and browsers let stand in an address, percent-encoded, is 8,192 bytes
_DIGEST: Final = 32  # hex digits, 128 bits
# What decides between two answers to one address.
_VARY: Final = "authorization, x-api-key, accept-encoding"
_SHAPES: Final[Mapping[TaskName, type[BaseModel]]] = {
    "classify": Kept[ClassifyResult],
    "embed": Kept[EmbedResult],
    "extract": Kept[ExtractResult],
    "fill": Kept[FillResult],
    "regress": Kept[RegressResult],
}
"""The tasks that need one text and nothing else."""

_PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "text",
        "in": "query",
        "required": True,
        "description": "One text; longer ones are for POST.",
        "schema": {
            "type": "string",
            "maxLength": _LONGEST,
            "examples": ["The plot was thin, but the cast carried it."],
        },
    },
    {
        "name": "model",
        "in": "query",
        "required": False,
        "description": "Name of the model; by default the first that does this.",
        "schema": {"type": "string"},
    },
    {
        "name": "if-none-match",
        "in": "header",
        "required": False,
        "description": "ETags of answers that are there already: if it is one of them, nothing but 304 comes back.",
        "schema": {"type": "string"},
    },
    *PARAMETERS,
]
_HEADERS: Final = {
    name: {"schema": {"type": "string"}, "description": told}
    for name, told in {
        "etag": "A digest of the answer.",
        "cache-control": "For how long it may be kept, and by whom.",
        "vary": "Headers that decide which answer it is.",
    }.items()
}


def _answering(task: TaskName) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that answers requests for a task."""

    async def respond(request: Request) -> Response:
        settings = context_of(request).settings
        text, model = _read(request)
        with within_timeout(request, settings.server) as deadline:
            asked = ServiceRequest(task=task, inputs=(text,), model=model, **circumstances(request, deadline))
            answer = await ask(request, asked)
        told = {
            "model": answer.model,
            "revision": answer.revision,
            "task": task,
            "result": spell(task, answer.results[0]),
        }
        return _keep(request, json_response(told), settings.cache)

    return respond


for _task, _shape in _SHAPES.items():
    router.add_api_route(
        f"/{_task}",
        _answering(_task),
        methods=["GET"],
        name=f"{_task} one",
        summary=f"{_task.capitalize()} one text, to keep the answer",
        description="As by POST, for one short text. What comes back may be kept by a browser, and by a CDN if"
        " `cache.shared` says so.",
        responses={
            200: {"model": _shape, "headers": _HEADERS},
            304: {"description": "The answer is one of those that the request names.", "headers": _HEADERS},
        },
        openapi_extra={"parameters": _PARAMETERS},
    )


def _read(request: Request) -> tuple[str, str | None]:
    given = read_query(request, ("text", "model"))
    text = given.get("text")
    if text is None:
        raise RequestInvalid("there is no text; ask with ?text=...", field="text")
    if len(text) > _LONGEST:
        raise RequestTooLarge(
            f"the text has {len(text)} characters and at most {_LONGEST} are read in an address; send it by POST",
            field="text",
        )
    return text, given.get("model")


def _keep(request: Request, response: Response, settings: CacheSettings) -> Response:
    """Let an answer be kept, or say that it is there already."""
    digest = hashlib.sha256(response.body).hexdigest()[:_DIGEST]
    coding = choose_coding(request.scope, response)
    tag = f'"{digest}"' if coding is None else f'"{digest}-{coding}"'
    by_whom = "public" if settings.shared else "private"
    headers = {"etag": tag, "cache-control": f"{by_whom}, max-age={settings.max_age_s}", "vary": _VARY}
    shown = ",".join(request.headers.getlist("if-none-match"))
    known = {each.strip().removeprefix("W/") for each in shown.split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response
