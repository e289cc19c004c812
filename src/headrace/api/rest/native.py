"""The native dialect under ``/api/v1``."""

import time
from collections.abc import Callable
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify, while_connected
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    EmbedRequest,
    EmbedResponse,
    Model,
    Models,
)
from headrace.types import Answer, Classification, Embedding, Options, TaskName
from headrace.types import Request as ServiceRequest

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["native"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)


@router.post(
    "/embed",
    summary="Embed texts",
    responses={200: {"model": EmbedResponse}},
    openapi_extra=json_body(EmbedRequest),
)
async def embed(request: Request) -> Response:
    """Turn texts into vectors: one result for each input, in the order of the inputs."""
    deadline = _deadline(request)
    body = await read_model(request, EmbedRequest, context_of(request).settings.server)
    options = Options(truncate=body.options.truncate, normalize=body.options.normalize)
    return _respond(await _run(request, "embed", body, options, deadline), _embedding)


@router.post(
    "/classify",
    summary="Classify texts",
    responses={200: {"model": ClassifyResponse}},
    openapi_extra=json_body(ClassifyRequest),
)
async def classify(request: Request) -> Response:
    """Say which labels texts have: one result for each input, in the order of the inputs."""
    deadline = _deadline(request)
    body = await read_model(request, ClassifyRequest, context_of(request).settings.server)
    return _respond(
        await _run(request, "classify", body, Options(**body.options.model_dump()), deadline), _classification
    )


def _deadline(request: Request) -> float:
    return time.monotonic() + context_of(request).settings.server.request_timeout_s


async def _run(
    request: Request, task: TaskName, body: EmbedRequest | ClassifyRequest, options: Options, deadline: float
) -> Answer:
    asked = ServiceRequest(
        task=task,
        inputs=tuple(body.inputs),
        model=body.model,
        options=options,
        caller=caller_of(request),
        request_id=request.state.request_id,
        deadline=deadline,
    )
    return await while_connected(request, context_of(request).service.run(asked))


@router.get("/models", summary="List the models", response_model=Models)
async def list_models(request: Request) -> Response:
    """Return the models that are served; the first is the one a request without a model gets."""
    served = context_of(request).service.list_models(caller_of(request))
    return json_response({"models": [Model.of(model).model_dump() for model in served]})


@router.get("/models/{name}", summary="Show a model", response_model=Model)
async def show_model(request: Request, name: str) -> Response:
    """Return one of the models that are served."""
    return json_response(Model.of(context_of(request).service.show_model(caller_of(request), name)).model_dump())


def json_response(content: Any) -> Response:
    """Return JSON; NumPy arrays are written without a detour over lists."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _respond(answer: Answer, spell: Callable[[Any], dict[str, Any]]) -> Response:
    """Return the response to an inference; ``spell`` says what is particular to a task's result."""
    timings = answer.timings
    return json_response(
        {
            "model": answer.model,
            "revision": answer.revision,
            "task": answer.task,
            "results": [
                {
                    **spell(result),
                    "tokens": result.tokens,
                    "truncated": result.truncated,
                    "windows": result.windows,
                }
                for result in answer.results
            ],
            "usage": {"tokens": answer.tokens, "cached": answer.cached},
            "timings_ms": {
                "queue": _ms(timings.queue_s),
                "tokenize": _ms(timings.tokenize_s),
                "run": _ms(timings.run_s),
                "total": _ms(timings.total_s),
            },
        }
    )


def _embedding(result: Embedding) -> dict[str, Any]:
    return {"embedding": result.values}


def _classification(result: Classification) -> dict[str, Any]:
    return {"labels": [{"label": label.name, "score": label.score} for label in result.labels]}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
