"""The tasks of Hugging Face's inference API at ``/models/NAME``, as ``huggingface_hub.InferenceClient`` asks them.

It sends every task to one URL and does not say which one it means: that is what the model does. Embedding and comparing
are asked as in ``tei.py``, ranking as in ``rerank.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.asked import Asked
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.inference import PARAMETERS, Question, answer_as
from headrace.api.rest.reply import json_response
from headrace.api.rest.rerank import RankRequest
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.tei import BY_NAME, ERRORS, TEI_ERRORS, CompareRequest, TeiEmbedRequest, TeiRoute, Texts
from headrace.api.schemas import Lenient
from headrace.errors import TaskUnsupported
from headrace.options import Aggregation, Options
from headrace.tasks import spell
from headrace.types import Answer, Entity, Extraction, Finding, ModelTask, Span

_MAX_TOP_K: Final = 100


class _Texts(Question):
    """A text, or a list of texts: the answer is then a list with one for each."""

    inputs: Texts
    is_single: SkipJsonSchema[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _note_single(cls, content: Any) -> Any:
        return (
            {**content, "is_single": isinstance(content.get("inputs"), str)} if isinstance(content, dict) else content
        )

    def write(self, found: Sequence[Any]) -> Response:
        """Return the response with what was found in each text."""
        return json_response(found[0] if self.is_single else found)


class LabelParameters(Lenient):
    """What may be chosen about labels."""

    top_k: int | None = Field(default=None, ge=1)
    function_to_apply: Literal["none"] | None = Field(
        default=None, description="The model's own by default; none gives raw scores."
    )


class LabelsRequest(_Texts):
    """Texts to classify."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "The plot was thin."}]})

    parameters: LabelParameters = LabelParameters()

    def asked(self) -> Asked:
        """Return what the service is asked."""
        chosen = self.parameters
        options = Options(top_k=chosen.top_k, raw=chosen.function_to_apply == "none")
        return {"task": "classify", "inputs": tuple(self.inputs), "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return a list for each text, also if there is one: the client takes the first."""
        return json_response([spell("classify", result)["labels"] for result in answer.results])


class EntityParameters(Lenient):
    """What may be chosen about entities."""

    aggregation_strategy: Aggregation = "simple"


class EntitiesRequest(_Texts):
    """Texts to find entities in."""

    parameters: EntityParameters = EntityParameters()

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(aggregation=self.parameters.aggregation_strategy)
        return {"task": "extract", "inputs": tuple(self.inputs), "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        name = "entity" if self.parameters.aggregation_strategy == "none" else "entity_group"
        results = cast("Sequence[Extraction]", answer.results)
        return self.write([[_entity(entity, name) for entity in result.entities] for result in results])


def _split(value: Any) -> Any:
    return [label.strip() for label in value.split(",")] if isinstance(value, str) else value


class CandidateParameters(Lenient):
    """What the texts may be about."""

    candidate_labels: Annotated[list[str], BeforeValidator(_split, json_schema_input_type=str | list[str])]
    hypothesis_template: str = Options().template
    multi_label: bool = False


class CandidatesRequest(_Texts):
    """Texts to give labels that are chosen now."""

    parameters: CandidateParameters

    def asked(self) -> Asked:
        """Return what the service is asked."""
        chosen = self.parameters
        options = Options(template=chosen.hypothesis_template, multi_label=chosen.multi_label)
        labels = tuple(chosen.candidate_labels)
        return {"task": "zeroshot", "inputs": tuple(self.inputs), "labels": labels, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        return self.write([spell("classify", result)["labels"] for result in answer.results])


class QuestionParts(Lenient):
    """A question, and the text that answers it."""

    question: str
    context: str


class AnswerParameters(Lenient):
    """What may be chosen about answers."""

    top_k: int | None = Field(default=None, ge=1, le=_MAX_TOP_K)
    max_answer_len: int = Field(default=Options().max_answer_tokens, ge=1, le=128)


class QuestionRequest(Question):
    """A question about a text."""

    inputs: QuestionParts
    parameters: AnswerParameters = AnswerParameters()

    def asked(self) -> Asked:
        """Return what the service is asked."""
        chosen = self.parameters
        options = Options(top_k=chosen.top_k or 1, max_answer_tokens=chosen.max_answer_len, truncate="chunk")
        texts = (self.inputs.context,)
        return {"task": "answer", "inputs": texts, "query": self.inputs.question, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return one answer, or a list of them if a number was asked for."""
        (finding,) = cast("Sequence[Finding]", answer.results)
        spans = [_span(span) for span in finding.answers]
        if self.parameters.top_k is not None:
            return json_response(spans)
        none = {"answer": "", "score": finding.no_answer, "start": 0, "end": 0}
        return json_response(spans[0] if spans else none)


def _entity(entity: Entity, name: str) -> dict[str, Any]:
    return {name: entity.label, "score": entity.score, "word": entity.text, "start": entity.start, "end": entity.end}


def _span(span: Span) -> dict[str, Any]:
    return {"answer": span.text, "score": span.score, "start": span.start, "end": span.end}


_SHAPES: Final[Mapping[ModelTask, type[Question]]] = {
    "answer": QuestionRequest,
    "classify": LabelsRequest,
    "embed": TeiEmbedRequest,
    "extract": EntitiesRequest,
    "rerank": RankRequest,
    "zeroshot": CandidatesRequest,
}


def _choose(content: Any, task: ModelTask) -> type[Question]:
    """Return what a body should be for a model; one that embeds is asked for similarities as well.

    Raises:
        TaskUnsupported: The dialect has no word for what the model does.
    """
    if task == "embed" and isinstance(content, dict) and isinstance(content.get("inputs"), dict):
        return CompareRequest
    if task not in _SHAPES:
        raise TaskUnsupported(f"this API has no word for {task!r}, which the model does: /api/v1/{task} has")
    return _SHAPES[task]


router: Final = APIRouter(
    dependencies=[Depends(identify)], tags=["huggingface"], responses=TEI_ERRORS, route_class=TeiRoute
)
SHEDDABLE: Final = {BY_NAME: Sheddable(None, ERRORS)}
SHAPES: Final[tuple[type[BaseModel], ...]] = (LabelsRequest, EntitiesRequest, CandidatesRequest, QuestionRequest)
"""What its routes refer to in the OpenAPI document."""
_BODY: Final = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"anyOf": [{"$ref": f"#/components/schemas/{shape.__name__}"} for shape in _SHAPES.values()]}
        }
    },
}


@router.post(BY_NAME, summary="Ask a model", openapi_extra={"requestBody": _BODY, "parameters": [*PARAMETERS]})
async def ask_model(request: Request, name: str) -> Response:
    """Let a model do what it does."""
    task = context_of(request).service.task_of(caller_of(request), name)
    return await answer_as(request, lambda content: _choose(content, task), name)
