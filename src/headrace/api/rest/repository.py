"""Triton's repository of models under ``/v2/repository``: what is loaded, and loading what the store says now.

Which models a server has is said when it starts, and which version of one answers by its store. So ``load`` makes of a
model that is served what the store says of it, as a server does by itself every few seconds, and tells what cannot be
loaded; ``unload`` is refused. Nothing of a model is taken from a request: whoever could send files could send code.
"""

from typing import Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.body import read_bytes, refuse_forms
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.oip import DOCUMENTED, OipRoute
from headrace.api.rest.openapi import json_body
from headrace.api.rest.reply import json_response
from headrace.api.schemas import Lenient
from headrace.api.validation import parse_json, validate
from headrace.errors import RequestInvalid

router: Final = APIRouter(
    prefix="/v2/repository",
    dependencies=[Depends(identify)],
    tags=["inference"],
    responses=DOCUMENTED,
    route_class=OipRoute,
)


class LoadRequest(Lenient):
    """How a model is to be loaded: as the store says."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    parameters: dict[str, Any] = Field(default={}, description="None are taken.")


SHAPES: Final[tuple[type[BaseModel], ...]] = (LoadRequest,)
"""What its routes refer to in the OpenAPI document."""


@router.post("/index", summary="List the models")
async def list_models(request: Request) -> Response:
    """Return every version that is loaded; the body is not read."""
    served = context_of(request).service.list_models(caller_of(request))
    state = {"state": "READY", "reason": ""}
    return json_response([{"name": each.manifest.name, "version": each.manifest.revision, **state} for each in served])


_LOAD: Final = json_body(LoadRequest)
_LOAD["requestBody"]["required"] = False  # Triton's client sends {}, and others nothing


@router.post("/models/{name}/load", summary="Load what the store says", response_class=Response, openapi_extra=_LOAD)
async def load(request: Request, name: str) -> Response:
    """Let the versions of a model answer that the store says, before this returns; no request fails meanwhile."""
    context = context_of(request)
    refuse_forms(request)
    data = await read_bytes(request, context.settings.server)
    asked = validate(parse_json(data), LoadRequest) if data else LoadRequest()
    for parameter in asked.parameters:
        raise RequestInvalid(
            f"the parameter {parameter[:80]!r} is not taken: a model is as it was imported, and nothing of it comes"
            " from a request; load it without, or import it anew",
            field="parameters",
        )
    await context.service.settle(caller_of(request), name)
    return Response()


@router.post("/models/{name}/unload", summary="Refuse to unload a model", response_class=Response)
async def unload(request: Request, name: str) -> Response:
    """Refuse: what a server has is said when it starts. The body is not read."""
    known = context_of(request).service.show_model(caller_of(request), name).manifest.name
    raise RequestInvalid(f"{known!r} stays loaded: which models a server has is said when it starts; start it without")
