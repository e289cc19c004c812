"""API keys over the native dialect, and who changed what."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.responses import Changes, KeyShown, KeysShown, NewKeyShown
from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.idempotent import PARAMETER, Outcome, answer_once
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.paging import LIMIT, cursor, read_page
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.schemas import KeyChoice, RotationChoice
from headrace.errors import RequestInvalid
from headrace.keyring import NewKey, Wanted
from headrace.records.base import spell_change, spell_key
from headrace.types import Scope

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["keys"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)
SHAPES: Final[tuple[type[BaseModel], ...]] = (KeyChoice, RotationChoice)
"""What its routes refer to in the OpenAPI document."""

_MADE: Final[dict[int | str, dict[str, Any]]] = {201: {"model": NewKeyShown}}
_SHOWN: Final[dict[int | str, dict[str, Any]]] = {200: {"model": KeyShown}}
_KEY_PAGE: Final = {"parameters": [LIMIT, cursor({"type": "string"})]}
_CHANGE_PAGE: Final = {"parameters": [LIMIT, cursor({"type": "integer", "minimum": 1})]}


@router.get("/keys", summary="List the keys", response_model=KeysShown, openapi_extra=_KEY_PAGE)
async def list_keys(request: Request) -> Response:
    """Return the keys of the caller's tenant, in the order in which they were made; an admin's are those of all."""
    limit, after = read_page(request)
    keys = await context_of(request).keyring.list_keys(caller_of(request), after=after, limit=limit + 1)
    page = keys[:limit]
    return json_response(
        {"keys": [spell_key(key) for key in page], "next": page[-1].id if len(keys) > limit else None},
    )


@router.post(
    "/keys",
    summary="Make a key",
    status_code=201,
    responses=_MADE,
    openapi_extra={**json_body(KeyChoice), "parameters": [PARAMETER]},
)
async def create_key(request: Request) -> Response:
    """Make a key. It is shown in this answer and never again."""
    context = context_of(request)
    asked = await read_model(request, KeyChoice, context.settings.server)
    wanted = Wanted(
        name=asked.name,
        scopes=frozenset(asked.scopes),
        models=None if asked.models is None else frozenset(asked.models),
        tenant=asked.tenant,
        lasts_s=asked.lasts_s,
    )

    async def create() -> Outcome:
        return _show_new(await context.keyring.create(caller_of(request), wanted))

    return await answer_once(request, Scope.KEYS, asked, create)


@router.get("/keys/{key_id}", summary="Show a key", responses=_SHOWN)
async def show_key(request: Request, key_id: str) -> Response:
    """Return what a key is for, but not the key."""
    return json_response(spell_key(await context_of(request).keyring.show(caller_of(request), key_id)))


@router.post(
    "/keys/{key_id}/rotate",
    summary="Rotate a key",
    status_code=201,
    responses=_MADE,
    openapi_extra={**json_body(RotationChoice), "parameters": [PARAMETER]},
)
async def rotate_key(request: Request, key_id: str) -> Response:
    """Make a key that may do the same, and end this one; at once or when others had the time to take the new one."""
    context = context_of(request)
    asked = await read_model(request, RotationChoice, context.settings.server)

    async def rotate() -> Outcome:
        return _show_new(await context.keyring.rotate(caller_of(request), key_id, asked.grace_s))

    return await answer_once(request, Scope.KEYS, asked, rotate)


@router.delete("/keys/{key_id}", summary="Revoke a key", responses=_SHOWN)
async def revoke_key(request: Request, key_id: str) -> Response:
    """End a key now: here at once, and elsewhere when other replicas look again."""
    return json_response(spell_key(await context_of(request).keyring.revoke(caller_of(request), key_id)))


@router.get("/changes", summary="List who changed what", response_model=Changes, openapi_extra=_CHANGE_PAGE)
async def list_changes(request: Request) -> Response:
    """Return who made keys or ended them, or changed which version of a model answers; the latest first."""
    limit, shown = read_page(request)
    before = None if shown is None else _read_number(shown)
    changes = await context_of(request).keyring.changes(caller_of(request), before=before, limit=limit + 1)
    page = changes[:limit]
    return json_response(
        {"changes": [spell_change(each) for each in page], "next": page[-1].number if len(changes) > limit else None}
    )


def _read_number(shown: str) -> int:
    if not (shown.isascii() and shown.isdecimal() and int(shown[:18]) > 0):
        raise RequestInvalid(f"cursor is {shown[:80]!r}; it must be the next of a page", field="cursor")
    return int(shown[:18])


def _show_new(made: NewKey) -> Outcome:
    return Outcome(
        content={**spell_key(made.key), "key": made.text},
        status=HTTPStatus.CREATED,
        headers={"location": f"{router.prefix}/keys/{made.key.id}", "cache-control": "no-store"},
        shown_once="key",
    )
