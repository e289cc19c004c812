"""The native dialect under ``/api/v1``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.fragments import Fragments
from headrace.api.native import ask_task, spell_answer
from headrace.api.responses import (
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
from headrace.api.rest.body import read_model
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.inference import PARAMETERS, ask, circumstances
from headrace.api.rest.media import FLOATS, FLOATS_DESCRIBED, JSON, choose_media, write_floats
from headrace.api.rest.openapi import PROBLEMS, json_body
from headrace.api.rest.problems import PROBLEM
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.timeouts import within_timeout
from headrace.api.schemas import (
    INPUTS,
    Inputs,
)
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
    response: type[BaseModel]
    order: str = "one result for each input, in their order"
    media: tuple[str, ...] = (JSON,)


_ENDPOINTS: Final[Mapping[TaskName, _Endpoint]] = {
    "answer": _Endpoint("Answer a question", "Find the parts of texts that answer a question", AnswerResponse),
    "classify": _Endpoint("Classify texts", "Say which labels texts have", ClassifyResponse),
    "embed": _Endpoint("Embed texts", "Turn texts into vectors", EmbedResponse, media=(JSON, FLOATS)),
    "extract": _Endpoint("Extract entities", "Find the spans of texts that have labels", ExtractResponse),
    "fill": _Endpoint("Find words for masks", "Say which words may stand where texts have masks", FillResponse),
    "regress": _Endpoint("Read a number from texts", "Turn texts into numbers", RegressResponse),
    "rerank": _Endpoint(
        "Rank texts",
        "Put texts in order by how well they answer a query",
        RerankResponse,
        order="one result for each input, or for as many as asked, the best first",
    ),
    "similarity": _Endpoint("Compare texts with a query", "Say how near texts are to a query", SimilarityResponse),
    "zeroshot": _Endpoint(
        "Classify texts by labels of your own",
        "Say which of some labels texts have that no model was trained on",
        ZeroshotResponse,
    ),
}


def _write(answer: Answer, fragments: Fragments) -> Response:
    """Return an answer in JSON; what is remembered may come again, and is written once."""
    return json_response(spell_answer(answer, fragments.spell if answer.is_remembered else spell))


def _answering(task: TaskName, shape: type[Inputs], media: tuple[str, ...]) -> Callable[[Request], Awaitable[Response]]:
    """Return the function that answers requests for a task."""

    async def respond(request: Request) -> Response:
        context, chosen = context_of(request), choose_media(request, media)
        with within_timeout(request, context.settings.server) as deadline:
            body = await read_model(request, shape, context.settings.server)
            asked = ServiceRequest(**ask_task(task, body), **circumstances(request, deadline))
            answer = await ask(request, asked)
            return write_floats(answer) if chosen == FLOATS else _write(answer, context.fragments)

    return respond


for _task, _endpoint in _ENDPOINTS.items():
    router.add_api_route(
        f"/{_task}",
        _answering(_task, INPUTS[_task], _endpoint.media),
        methods=["POST"],
        name=_task,
        summary=_endpoint.summary,
        description=f"{_endpoint.description}: {_endpoint.order}.",
        responses={200: {"model": _endpoint.response, **(FLOATS_DESCRIBED if FLOATS in _endpoint.media else {})}},
        openapi_extra={**json_body(INPUTS[_task]), "parameters": [*PARAMETERS]},
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
