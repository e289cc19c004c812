"""The native dialect under ``/api/v1``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.inference import ask, circumstances
from headrace.api.rest.media import FLOATS, FLOATS_DESCRIBED, JSON, choose_media, write_floats
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.reply import json_response
from headrace.api.rest.responses import (
    AnswerResponse,
    ClassifyResponse,
    EmbedResponse,
    ExtractResponse,
    FillResponse,
    Model,
    Models,
    Problem,
    RegressResponse,
    RerankResponse,
    SimilarityResponse,
    ZeroshotResponse,
)
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.routing import ROUTING_PARAMETER
from headrace.api.rest.schemas import (
    AnswerRequest,
    ClassifyRequest,
    EmbedRequest,
    ExtractRequest,
    FillRequest,
    Inputs,
    RegressRequest,
    RerankRequest,
    SimilarityRequest,
    ZeroshotRequest,
)
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.timeouts import PARAMETER, within_timeout
from headrace.options import Options
from headrace.tasks import TASKS, spell
from headrace.types import Answer, TaskName
from headrace.types import Request as ServiceRequest

router: Final = APIRouter(
    prefix="/api/v1",
    dependencies=[Depends(identify)],
    tags=["native"],
    responses=PROBLEMS,
    route_class=DirectRoute,
)
SHEDDABLE: Final[Mapping[str, Sheddable]] = {f"{router.prefix}/{task}": Sheddable(task, PROBLEM) for task in TASKS}
SHAPES: Final[tuple[type[BaseModel], ...]] = (*get_args(Inputs), Problem)
"""What its routes refer to in the OpenAPI document."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """How a task is asked for."""

    summary: str
    description: str
    request: type[Inputs]
    response: type[BaseModel]
    order: str = "one result for each input, in their order"
    media: tuple[str, ...] = (JSON,)


_ENDPOINTS: Final[Mapping[TaskName, _Endpoint]] = {
    "answer": _Endpoint(
        "Answer a question", "Find the parts of texts that answer a question", AnswerRequest, AnswerResponse
    ),
    "classify": _Endpoint("Classify texts", "Say which labels texts have", ClassifyRequest, ClassifyResponse),
    "embed": _Endpoint("Embed texts", "Turn texts into vectors", EmbedRequest, EmbedResponse, media=(JSON, FLOATS)),
    "extract": _Endpoint(
        "Extract entities", "Find the spans of texts that have labels", ExtractRequest, ExtractResponse
    ),
    "fill": _Endpoint(
        "Find words for masks", "Say which words may stand where texts have masks", FillRequest, FillResponse
    ),
    "regress": _Endpoint("Read a number from texts", "Turn texts into numbers", RegressRequest, RegressResponse),
    "rerank": _Endpoint(
        "Rank texts",
        "Put texts in order by how well they answer a query",
        RerankRequest,
        RerankResponse,
        order="one result for each input, or for as many as asked, the best first",
    ),
    "similarity": _Endpoint(
        "Compare texts with a query", "Say how near texts are to a query", SimilarityRequest, SimilarityResponse
    ),
    "zeroshot": _Endpoint(
        "Classify texts by labels of your own",
        "Say which of some labels texts have that no model was trained on",
        ZeroshotRequest,
        ZeroshotResponse,
    ),
}


def _answering(task: TaskName, shape: type[Inputs], media: tuple[str, ...]) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that answers requests for a task."""

    async def respond(request: Request) -> Response:
        context, chosen = context_of(request), choose_media(request, media)
        with within_timeout(request, context.settings.server) as deadline:
            body = await read_model(request, shape, context.settings.server)
            asked = ServiceRequest(
                task=task,
                inputs=tuple(body.inputs),
                query=body.asked_query(),
                labels=body.asked_labels(),
                model=body.model,
                options=Options(**vars(body.options)),  # a model of pydantic makes a dict of itself in 5 µs
                **circumstances(request, deadline),
            )
            answer = await ask(request, asked)
            return write_floats(answer) if chosen == FLOATS else _respond(answer)

    return respond


for _task, _endpoint in _ENDPOINTS.items():
    router.add_api_route(
        f"/{_task}",
        _answering(_task, _endpoint.request, _endpoint.media),
        methods=["POST"],
        name=_task,
        summary=_endpoint.summary,
        description=f"{_endpoint.description}: {_endpoint.order}.",
        responses={200: {"model": _endpoint.response, **(FLOATS_DESCRIBED if FLOATS in _endpoint.media else {})}},
        openapi_extra={**json_body(_endpoint.request), "parameters": [PARAMETER, ROUTING_PARAMETER]},
    )


@router.get("/models", summary="List the models", response_model=Models)
async def list_models(request: Request) -> Response:
    """Return the models that are served; the first is the one a request without a model gets."""
    served = context_of(request).service.list_models(caller_of(request))
    return json_response({"models": [Model.of(model).model_dump() for model in served]})


@router.get("/models/{name}", summary="Show a model", response_model=Model)
async def show_model(request: Request, name: str) -> Response:
    """Return one of the models that are served."""
    return json_response(Model.of(context_of(request).service.show_model(caller_of(request), name)).model_dump())


def _respond(answer: Answer) -> Response:
    timings = answer.timings
    return json_response(
        {
            "model": answer.model,
            "revision": answer.revision,
            "task": answer.task,
            "results": [spell(answer.task, result) for result in answer.results],
            "usage": {"tokens": answer.tokens, "cached": answer.cached},
            "timings_ms": {
                "queue": _ms(timings.queue_s),
                "tokenize": _ms(timings.tokenize_s),
                "run": _ms(timings.run_s),
                "total": _ms(timings.total_s),
            },
        }
    )


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1000  # ``round`` takes as long as all else here
