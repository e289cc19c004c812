"""OAuth2 (RFC 6749): tokens for keys and for users, their end (RFC 7009), and the keys that they are signed with.

Who asks shows a key, a password or a token, so these routes are open to all: what is shown is looked at by the route.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.responses import JsonWebKeys, OAuthError, TokensIssued
from headrace.api.rest.context import context_of, open_to_all
from headrace.api.rest.form import FORM, read_client, read_form
from headrace.api.rest.openapi import error_responses
from headrace.api.rest.refusals import ErrorShape, Refusal
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.errors import (
    CallerUnknown,
    GrantInvalid,
    GrantUnsupported,
    RequestInvalid,
    RequestUnsupported,
    ScopeInvalid,
)
from headrace.tokens import Client, Issued, Tokens

_PLAIN: Final = "application/json"
_NOT_KEPT: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_KEYS_LAST_S: Final = 300  # a new key stands beside the old one for longer than that before it signs
_UNWRITABLE: Final = re.compile(r"[^ !#-\[\]-~]")  # what an error_description cannot have (RFC 6749, 5.2)
_ERRORS: Final[Mapping[str, str]] = {
    CallerUnknown.code: "invalid_client",
    GrantInvalid.code: "invalid_grant",
    GrantUnsupported.code: "unsupported_grant_type",
    ScopeInvalid.code: "invalid_scope",
}
_SERVER_ERROR: Final = 500
_LATER: Final = frozenset({429, 503})


def _write(refusal: Refusal) -> bytes:
    default = "server_error" if refusal.status >= _SERVER_ERROR else "invalid_request"
    error = "temporarily_unavailable" if refusal.status in _LATER else _ERRORS.get(refusal.code, default)
    described = _UNWRITABLE.sub("?", refusal.message)
    return orjson.dumps(
        {"error": error, "error_description": described, "code": refusal.code, "request_id": refusal.request_id}
    )


OAUTH: Final = ErrorShape(
    _PLAIN,
    _write,
    # What is wrong with a form is invalid_request, which is a 400; the rest says something of the connection.
    statuses={RequestInvalid: 400, RequestUnsupported: 400},
    challenge='Basic realm="headrace", charset="UTF-8"',
    headers=_NOT_KEPT,
)
"""Errors as clients of OAuth2 read them, with our stable code beside."""


class OAuthRoute(DirectRoute):
    """A route whose errors are those of OAuth2."""

    errors: ClassVar[ErrorShape] = OAUTH


router: Final = APIRouter(
    prefix="/api/v1/token",
    dependencies=[Depends(open_to_all)],
    tags=["tokens"],
    responses=error_responses(OAuthError, _PLAIN),
    route_class=OAuthRoute,
)
published: Final = APIRouter(dependencies=[Depends(open_to_all)], tags=["tokens"], route_class=DirectRoute)
SHAPES: Final[tuple[type[BaseModel], ...]] = (OAuthError,)
"""What its routes refer to in the OpenAPI document."""

_CLIENT: Final = {"client_id": "Id of an API key that was made.", "client_secret": "The key itself."}
_TOKEN_FIELDS: Final = {
    "grant_type": "One of client_credentials, password and refresh_token.",
    "username": "Of a user.",
    "password": "Theirs.",
    "refresh_token": "As it was issued; it is good once.",
    "scope": "What the token is for, with spaces between; by default all that can be had.",
    **_CLIENT,
}
_REVOKE_FIELDS: Final = {
    "token": "An access token, or a refresh token, which ends with its login.",
    "token_type_hint": "Is not needed.",
    **_CLIENT,
}


def _form(fields: Mapping[str, str], needed: str) -> dict[str, Any]:
    """Describe a form that the route reads itself."""
    secret = {"password", "client_secret", "token", "refresh_token"}
    properties: dict[str, dict[str, Any]] = {
        name: {"type": "string", "description": told, **({"format": "password"} if name in secret else {})}
        for name, told in fields.items()
    }
    properties[needed]["minLength"] = 1  # what is empty is not there
    schema = {"type": "object", "properties": properties, "required": [needed]}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


@router.post("", summary="Get tokens", response_model=TokensIssued, openapi_extra=_form(_TOKEN_FIELDS, "grant_type"))
async def issue(request: Request) -> Response:
    """Issue an access token for an API key, a user or a refresh token, and to users also the next refresh token."""
    context = context_of(request)
    form = await read_form(request, context.settings.server, _TOKEN_FIELDS)
    issued = await _issue(context.tokens, form, read_client(request, form))
    request.scope["state"]["caller"] = issued.caller
    told: dict[str, Any] = {
        "access_token": issued.access,
        "token_type": "Bearer",
        "expires_in": issued.lasts_s,
        "scope": " ".join(sorted(issued.scopes)),
    }
    if issued.refresh is not None:
        told["refresh_token"] = issued.refresh
    return _unkept(json_response(told))


@router.post("/revoke", summary="End a token", response_class=Response, openapi_extra=_form(_REVOKE_FIELDS, "token"))
async def revoke(request: Request) -> Response:
    """End a token: here at once, and elsewhere when other replicas look again. One that is none is left at that."""
    context = context_of(request)
    form = await read_form(request, context.settings.server, _REVOKE_FIELDS)
    await context.tokens.revoke(_field(form, "token"), read_client(request, form))
    return _unkept(Response())


@published.get("/.well-known/jwks.json", summary="Keys that tokens are signed with", response_model=JsonWebKeys)
async def jwks(request: Request) -> Response:
    """Return the public keys that check tokens of this server; none where it issues none."""
    response = json_response({"keys": context_of(request).tokens.published})
    response.headers["cache-control"] = f"public, max-age={_KEYS_LAST_S}"
    return response


async def _issue(tokens: Tokens, form: dict[str, str], client: Client | None) -> Issued:
    scope = form.get("scope")
    match _field(form, "grant_type"):
        case "client_credentials":
            if client is None:
                raise CallerUnknown(
                    "no client is shown; send client_id and client_secret: an API key's id, and the key"
                )
            return tokens.by_key(client, scope)
        case "password":
            return await tokens.by_password(_field(form, "username"), _field(form, "password"), scope, client)
        case "refresh_token":
            return await tokens.by_refresh(_field(form, "refresh_token"), scope, client)
    raise GrantUnsupported("grant_type must be client_credentials, password or refresh_token")


def _field(form: dict[str, str], name: str) -> str:
    if name not in form:
        raise RequestInvalid(f"{name} is missing", field=name)
    return form[name]


def _unkept(response: Response) -> Response:
    response.headers.update(_NOT_KEPT)
    return response
