"""Versions of a model over the native dialect: which one answers, and which one is tried out beside it."""

from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.responses import RolesResponse
from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.idempotent import PARAMETER, Outcome, answer_once
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.schemas import CandidateChoice, VersionChoice
from headrace.models.roles import Candidate, Roles
from headrace.types import Scope

router: Final = APIRouter(
    prefix="/api/v1/models/{name}",
    dependencies=[Depends(identify)],
    tags=["versions"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)
SHAPES: Final[tuple[type[BaseModel], ...]] = (VersionChoice, CandidateChoice)
"""What its routes refer to in the OpenAPI document."""

_ONCE: Final[dict[str, Any]] = {"parameters": [PARAMETER]}
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {200: {"model": RolesResponse}}


@router.get("/roles", summary="Show which versions do what", responses=_ANSWER)
async def show_roles(request: Request, name: str) -> Response:
    """Return which version of a model answers, and which one is tried out beside it."""
    return _respond(name, await context_of(request).service.roles(caller_of(request), name))


@router.post(
    "/promote", summary="Promote a version", responses=_ANSWER, openapi_extra={**json_body(VersionChoice), **_ONCE}
)
async def promote(request: Request, name: str) -> Response:
    """Let another version answer. It is loaded and compared with its original first; no request fails meanwhile."""
    context = context_of(request)
    asked = await read_model(request, VersionChoice, context.settings.server)

    async def change() -> Outcome:
        return _show(name, await context.service.promote(caller_of(request), name, asked.revision))

    return await answer_once(request, Scope.MODELS_WRITE, asked, change)


@router.post("/rollback", summary="Roll back", responses=_ANSWER, openapi_extra=_ONCE)
async def roll_back(request: Request, name: str) -> Response:
    """Let the version answer again that did before."""

    async def change() -> Outcome:
        return _show(name, await context_of(request).service.roll_back(caller_of(request), name))

    return await answer_once(request, Scope.MODELS_WRITE, None, change)


@router.put("/candidate", summary="Try out a version", responses=_ANSWER, openapi_extra=json_body(CandidateChoice))
async def try_out(request: Request, name: str) -> Response:
    """Try out a version beside the one that answers, in place of any that is tried out so far."""
    context = context_of(request)
    asked = await read_model(request, CandidateChoice, context.settings.server)
    candidate = Candidate.model_construct(revision=asked.revision, kind=asked.kind, share=asked.share)
    return _respond(name, await context.service.try_out(caller_of(request), name, candidate))


@router.delete("/candidate", summary="End a trial", responses=_ANSWER)
async def retire(request: Request, name: str) -> Response:
    """Try out no version any more."""
    return _respond(name, await context_of(request).service.try_out(caller_of(request), name, None))


def _show(name: str, roles: Roles) -> Outcome:
    return Outcome(content={"model": name, **roles.model_dump(mode="json")})


def _respond(name: str, roles: Roles) -> Response:
    return json_response(_show(name, roles).content)
