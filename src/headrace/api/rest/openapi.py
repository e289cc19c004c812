"""The OpenAPI document: what FastAPI cannot see because bodies are read by us, bounded."""

from collections.abc import Callable
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headrace.api.rest.problems import MEDIA_TYPE
from headrace.api.rest.responses import Problem
from headrace.api.rest.schemas import CandidateChoice, Inputs, VersionChoice

_REFERENCE: Final = "#/components/schemas/{model}"
_OWN: Final[tuple[type[BaseModel], ...]] = (*get_args(Inputs), VersionChoice, CandidateChoice, Problem)

_SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the server has any."},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
}

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {
        "description": "The request cannot be answered as it is; `code` says why, `detail` what to do.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    },
    "5XX": {
        "description": "The server cannot answer; `retryable` says whether it can later.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    },
}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a JSON body that the route reads itself."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the function that makes the document, once."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, definitions = models_json_schema([(model, "validation") for model in _OWN], ref_template=_REFERENCE)
            document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
            document["components"]["securitySchemes"] = _SECURITY_SCHEMES
            document["security"] = [{name: []} for name in _SECURITY_SCHEMES]
            app.openapi_schema = document
        return app.openapi_schema

    return openapi
