"""The dialect of Infinity under ``/infinity``: OpenAI's embeddings, rankings and classifications with its own frame."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.asked import Asked
from headrace.api.rest.context import caller_of, context_of, identify, open_to_all
from headrace.api.rest.inference import PARAMETERS, Question, answering
from headrace.api.rest.openai import ERRORS, EmbeddingsRequest, ErrorResponse, OpenAIRoute, describe_model
from headrace.api.rest.openapi import error_responses, json_body
from headrace.api.rest.reply import json_response, spell_usage
from headrace.api.rest.rerank import RankRequest
from headrace.api.rest.shed import Sheddable
from headrace.options import Options, Truncate
from headrace.service import ServedModel
from headrace.tasks import spell
from headrace.types import Answer, Ranking, TaskName

PREFIX: Final = "/infinity"
_NO_MODEL: Final = "default/not-specified"  # what its client sends where no model is named


def _forget(model: str | None) -> str | None:
    return None if model == _NO_MODEL else model


Name = Annotated[str | None, AfterValidator(_forget)]


def _frame(kind: str, answer: Answer, request_id: str, **content: Any) -> Response:
    frame = {
        "object": kind,
        "model": answer.model,
        "usage": spell_usage(answer),
        "id": request_id,
        "created": int(time.time()),
    }
    return json_response({**frame, **content})


class InfinityEmbedRequest(EmbeddingsRequest):
    """Texts to embed; those over the model's window are cut."""

    model: Name = None
    dimensions: Annotated[int | None, AfterValidator(lambda dimensions: dimensions or None)] = Field(
        default=None, ge=0, description="With 0 all."
    )
    modality: Literal["text"] = "text"
    truncate: Truncate = "truncate"

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        return _frame("list", answer, request_id, data=self.spell(answer))


class InfinityRankRequest(RankRequest):
    """Documents to rank by how well they answer a query."""

    model: Name = None

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response; a document is a text here."""
        results = [self._spell(ranking) for ranking in cast("Sequence[Ranking]", answer.results)]
        return _frame("rerank", answer, request_id, results=results)

    def _spell(self, ranking: Ranking) -> dict[str, Any]:
        result: dict[str, Any] = {"index": ranking.index, "relevance_score": ranking.score}
        return {**result, "document": self.ranked()[ranking.index]} if self.return_documents else result


class InfinityClassifyRequest(Question):
    """Texts to classify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["The plot was thin."]}]})

    model: Name = None
    input: list[str]
    raw_scores: bool = False

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(raw=self.raw_scores)
        return {"task": "classify", "inputs": tuple(self.input), "model": self.model, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        data = [spell("classify", result)["labels"] for result in answer.results]
        return _frame("classify", answer, request_id, data=data)


_DOCUMENTED: Final = error_responses(ErrorResponse, ERRORS.media_type)
router: Final = APIRouter(
    prefix=PREFIX,
    dependencies=[Depends(identify)],
    tags=["infinity"],
    responses=_DOCUMENTED,
    route_class=OpenAIRoute,
)
probes: Final = APIRouter(
    prefix=PREFIX,
    dependencies=[Depends(open_to_all)],
    tags=["infinity"],
    responses=_DOCUMENTED,
    route_class=OpenAIRoute,
)
_QUESTIONS: Final[Mapping[str, tuple[TaskName, type[Question], str]]] = {
    "/embeddings": ("embed", InfinityEmbedRequest, "Embed texts"),
    "/rerank": ("rerank", InfinityRankRequest, "Rank documents"),
    "/classify": ("classify", InfinityClassifyRequest, "Classify texts"),
}
SHEDDABLE: Final = {PREFIX + path: Sheddable(task, ERRORS) for path, (task, _, _) in _QUESTIONS.items()}
SHAPES: Final[tuple[type[BaseModel], ...]] = tuple(shape for _, shape, _ in _QUESTIONS.values())
"""What its routes refer to in the OpenAPI document."""

for _path, (_, _shape, _summary) in _QUESTIONS.items():
    _extra = {**json_body(_shape), "parameters": [*PARAMETERS]}
    router.add_api_route(_path, answering(_shape), methods=["POST"], summary=_summary, openapi_extra=_extra)


@router.get("/models", summary="List the models")
async def list_models(request: Request) -> Response:
    """Return the models that are served."""
    served = context_of(request).service.list_models(caller_of(request))
    return json_response({"object": "list", "data": [_describe(model) for model in served if model.share is None]})


@probes.get("/health", summary="Would a request be answered?")
async def health(request: Request) -> Response:
    """Answer as ``/readyz`` does."""
    context_of(request).require_ready()
    return json_response({"unix": time.time()})


def _describe(served: ServedModel) -> dict[str, Any]:
    manifest, plan = served.manifest, served.plan
    return {
        **describe_model(manifest),
        "owned_by": "infinity",  # its client takes no other word
        "backend": plan.runtime,
        "capabilities": [manifest.task],
        "stats": {"batch_size": plan.token_budget},
    }
