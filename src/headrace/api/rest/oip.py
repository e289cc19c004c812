"""The Open Inference Protocol (KServe's V2) under ``/v2``, with Triton's binary tensors."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.open_inference import EXTENSIONS, InferParameters, ask_model, choose_outputs, describe, make_tensors
from headrace.api.rest.body import read_bytes, refuse_forms
from headrace.api.rest.context import caller_of, context_of, identify, open_to_all
from headrace.api.rest.inference import PARAMETERS, ask, circumstances
from headrace.api.rest.openapi import error_responses, json_body
from headrace.api.rest.refusals import ErrorShape, Refusal
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.timeouts import within_timeout
from headrace.api.schemas import Lenient
from headrace.api.tensors import InputTensor, OutputTensor, read_texts, split
from headrace.api.validation import validate
from headrace.service import ServedModel
from headrace.types import Answer, ModelTask
from headrace.types import Request as ServiceRequest
from headrace.version import VERSION

_JSON_SIZE: Final = "inference-header-content-length"
_BINARY: Final = "application/octet-stream"
_EXTENSIONS: Final = ("binary_tensor_data", "model_repository", *EXTENSIONS)


def _write_error(refusal: Refusal) -> bytes:
    return orjson.dumps({"error": refusal.message})


ERRORS: Final = ErrorShape("application/json", _write_error, {422: 400})


class OipRoute(DirectRoute):
    """A route of this dialect."""

    errors: ClassVar[ErrorShape] = ERRORS


class OutputParameters(Lenient):
    """How an output is given."""

    binary_data: bool | None = None


class OutputChoice(Lenient):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferRequest(Lenient):
    """Tensors for a model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["A mill."]}]}]
        }
    )

    id: str | None = None
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor]
    outputs: list[OutputChoice] | None = Field(default=None, description="Which ones; by default all.")


class InferError(BaseModel):
    """An error, as clients of the protocol read it."""

    error: str


DOCUMENTED: Final = error_responses(InferError, ERRORS.media_type)
"""Its errors, for the OpenAPI document."""
router: Final = APIRouter(
    prefix="/v2", dependencies=[Depends(identify)], tags=["inference"], responses=DOCUMENTED, route_class=OipRoute
)
probes: Final = APIRouter(
    prefix="/v2/health",
    dependencies=[Depends(open_to_all)],
    tags=["inference"],
    responses=DOCUMENTED,
    route_class=OipRoute,
)
SHEDDABLE: Final = {"/v2/models/{name}/infer": Sheddable(None, ERRORS)}  # versions are asked by who tries them out
SHAPES: Final[tuple[type[BaseModel], ...]] = (InferRequest, InferError)
"""What its routes refer to in the OpenAPI document."""


@probes.get("/live", summary="Is the process alive?")
async def live(_request: Request) -> Response:
    """Answer as long as the event loop runs."""
    return json_response({"live": True})


@probes.get("/ready", summary="Would a request be answered?")
async def ready(request: Request) -> Response:
    """Answer as ``/readyz`` does."""
    context_of(request).require_ready()
    return json_response({"ready": True})


@router.get("", summary="Describe the server")
@router.get("/", include_in_schema=False)
async def describe_server(_request: Request) -> Response:
    """Say what is spoken here."""
    return json_response({"name": "headrace", "version": VERSION, "extensions": _EXTENSIONS})


@router.get("/models/{name}", summary="Describe a model")
async def describe_model(request: Request, name: str) -> Response:
    """Return what a model takes and gives."""
    return json_response(describe(_find(request, name).manifest))


@router.get("/models/{name}/versions/{version}", summary="Describe a version of a model")
async def describe_version(request: Request, name: str, version: str) -> Response:
    """Return what a version takes and gives: ``champion``, ``canary``, or what its revision begins with."""
    return await describe_model(request, f"{name}@{version}")


@router.get("/models/{name}/ready", summary="Is a model ready?")
async def model_ready(request: Request, name: str) -> Response:
    """Answer if the model is loaded and the server answers."""
    context_of(request).require_ready()
    return json_response({"name": _find(request, name).manifest.name, "ready": True})


@router.get("/models/{name}/versions/{version}/ready", summary="Is a version of a model ready?")
async def version_ready(request: Request, name: str, version: str) -> Response:
    """Answer if the version is loaded and the server answers."""
    return await model_ready(request, f"{name}@{version}")


def _find(request: Request, name: str) -> ServedModel:
    return context_of(request).service.show_model(caller_of(request), name)


_INFER: Final = {**json_body(InferRequest), "parameters": [*PARAMETERS]}
_INFERRED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}, "application/json": {}}}
}


@router.post("/models/{name}/infer", summary="Ask a model", responses=_INFERRED, openapi_extra=_INFER)
async def infer(request: Request, name: str) -> Response:
    """Let a model compute tensors.

    The content type says nothing here: Triton's client sends none, and MLServer's calls bytes JSON.
    """
    server, service = context_of(request).settings.server, context_of(request).service
    with within_timeout(request, server) as deadline:
        refuse_forms(request)
        asked, texts = _read(await read_bytes(request, server), request.headers.get(_JSON_SIZE))
        task = service.task_of(caller_of(request), name)
        wanted = _choose_outputs(asked, task)
        question = ServiceRequest(
            **ask_model(name, task, texts, asked.parameters.options()), **circumstances(request, deadline)
        )
        answer = await ask(request, question)
        tensors = zip(make_tensors(answer, task, list(wanted)), wanted.values(), strict=True)
        return _respond(asked, answer, list(tensors), request.scope["state"]["request_id"])


@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Ask a version of a model",
    responses=_INFERRED,
    openapi_extra=_INFER,
)
async def infer_version(request: Request, name: str, version: str) -> Response:
    """Let a version of a model compute tensors."""
    return await infer(request, f"{name}@{version}")


def _read(data: bytes, json_size: str | None) -> tuple[InferRequest, Mapping[str, tuple[str, ...]]]:
    content, blobs = split(data, json_size)
    asked = validate(content, InferRequest)
    return asked, read_texts(asked.inputs, blobs)


def _choose_outputs(asked: InferRequest, task: ModelTask) -> Mapping[str, bool]:
    """Return the names of the outputs that are wanted, and whether as bytes; raises as ``choose_outputs``."""
    by_default = asked.parameters.binary_data_output
    given = {each.name: each.parameters.binary_data for each in asked.outputs or ()}
    names = choose_outputs(None if asked.outputs is None else [each.name for each in asked.outputs], task)
    return {name: by_default if given.get(name) is None else bool(given[name]) for name in names}


def _respond(
    asked: InferRequest, answer: Answer, tensors: Sequence[tuple[OutputTensor, bool]], request_id: str
) -> Response:
    shown, blobs = [], []
    for tensor, is_binary in tensors:
        if is_binary:
            described, data = tensor.as_bytes()
            blobs.append(data)
        else:
            described = tensor.as_json()
        shown.append(described)
    head = {"model_name": answer.model, "model_version": answer.revision, "id": asked.id or request_id}
    response = json_response({**head, "outputs": shown})
    if not blobs:
        return response
    size = str(len(response.body))
    content = b"".join([response.body, *blobs])
    return Response(content, media_type=_BINARY, headers={_JSON_SIZE: size})
