"""The OpenAPI document: what FastAPI cannot see because bodies are read by us, bounded."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headrace.api.responses import Problem
from headrace.api.rest.context import open_to_all
from headrace.api.rest.problems import PROBLEM
from headrace.types import Scope

_REFERENCE: Final = "#/components/schemas/{model}"

# Relative, as the page that reads it may be behind a proxy that puts it below another path.
_PASSWORD: Final = OAuth2PasswordBearer(
    tokenUrl="api/v1/token",
    refreshUrl="api/v1/token",
    scopes={scope.value: scope.value for scope in Scope},
    description="A user's name and password, where the server issues tokens.",
)
_SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token, where the server has any."},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
    "password": _PASSWORD.model.model_dump(mode="json", by_alias=True, exclude_none=True),
}


def error_responses(model: type[BaseModel], media_type: str) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a dialect."""
    content = {media_type: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
    told = {
        "4XX": "The request cannot be answered as it is; the error says why, and what to do.",
        "5XX": "The server cannot answer; the error says whether it can later.",
    }
    return {status: {"description": description, "content": content} for status, description in told.items()}


PROBLEMS: Final = error_responses(Problem, PROBLEM.media_type)
"""The errors of the native dialect."""


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a JSON body that the route reads itself."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, models: Sequence[type[BaseModel]]) -> Callable[[], dict[str, Any]]:
    """Return the function that makes the document, once.

    Args:
        app: With all routes.
        models: What the routes refer to and FastAPI does not see.
    """

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
            document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
            document["components"]["securitySchemes"] = _SECURITY_SCHEMES
            document["security"] = [{name: []} for name in _SECURITY_SCHEMES]
            _open_doors(app, document)
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def _open_doors(app: FastAPI, document: dict[str, Any]) -> None:
    """Say of the routes that are open to all that they need no key."""
    for route in app.routes:
        if isinstance(route, APIRoute) and any(each.dependency is open_to_all for each in route.dependencies):
            for method in route.methods or ():
                if operation := document["paths"].get(route.path, {}).get(method.lower()):
                    operation["security"] = []
