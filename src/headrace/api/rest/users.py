"""Users over the native dialect."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.responses import UserShown, UsersShown
from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.paging import LIMIT, cursor, read_page
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.schemas import PasswordChoice, UserChoice
from headrace.records.accounts import spell_user
from headrace.users import WantedUser

router: Final = APIRouter(
    prefix="/api/v1/users",
    dependencies=[Depends(identify)],
    tags=["users"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)
SHAPES: Final[tuple[type[BaseModel], ...]] = (UserChoice, PasswordChoice)
"""What its routes refer to in the OpenAPI document."""

_MADE: Final[dict[int | str, dict[str, Any]]] = {201: {"model": UserShown}}
_SHOWN: Final[dict[int | str, dict[str, Any]]] = {200: {"model": UserShown}}
_PAGE: Final = {"parameters": [LIMIT, cursor({"type": "string"})]}


@router.get("", summary="List the users", response_model=UsersShown, openapi_extra=_PAGE)
async def list_users(request: Request) -> Response:
    """Return the users of the caller's tenant, in the order in which they were made; an admin's are those of all."""
    limit, after = read_page(request)
    users = await context_of(request).users.list_users(caller_of(request), after=after, limit=limit + 1)
    page = users[:limit]
    return json_response(
        {"users": [spell_user(user) for user in page], "next": page[-1].name if len(users) > limit else None}
    )


@router.post("", summary="Make a user", status_code=201, responses=_MADE, openapi_extra=json_body(UserChoice))
async def create_user(request: Request) -> Response:
    """Make a user, who logs in with the name and the password."""
    context = context_of(request)
    asked = await read_model(request, UserChoice, context.settings.server)
    wanted = WantedUser(
        name=asked.name,
        password=asked.password.get_secret_value(),
        scopes=frozenset(asked.scopes),
        models=None if asked.models is None else frozenset(asked.models),
        tenant=asked.tenant,
    )
    user = await context.users.create(caller_of(request), wanted)
    response = json_response(spell_user(user))
    response.status_code = HTTPStatus.CREATED
    response.headers["location"] = f"{router.prefix}/{user.name}"
    return response


@router.get("/{name}", summary="Show a user", responses=_SHOWN)
async def show_user(request: Request, name: str) -> Response:
    """Return what a user may do."""
    return json_response(spell_user(await context_of(request).users.show(caller_of(request), name)))


@router.put(
    "/{name}/password",
    summary="Give a user another password",
    responses=_SHOWN,
    openapi_extra=json_body(PasswordChoice),
)
async def set_password(request: Request, name: str) -> Response:
    """Give a user another password; what they got for the one before ends."""
    context = context_of(request)
    asked = await read_model(request, PasswordChoice, context.settings.server)
    password = asked.password.get_secret_value()
    return json_response(spell_user(await context.users.set_password(caller_of(request), name, password)))


@router.delete("/{name}", summary="Remove a user", responses=_SHOWN)
async def remove_user(request: Request, name: str) -> Response:
    """End a user and all tokens that they have: here at once, and elsewhere when other replicas look again."""
    return json_response(spell_user(await context_of(request).users.remove(caller_of(request), name)))
