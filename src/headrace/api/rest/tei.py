"""The dialect of text-embeddings-inference: at ``/`` for the first model that does a task, and for each model by name.

Its clients take one base URL for one model: ``http://.../models/NAME`` is one. Ranking shares its path with other
dialects and is in ``rerank.py``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import starmap
from typing import Annotated, Any, ClassVar, Final, Literal, cast

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from headrace import errors
from headrace.api.asked import Asked
from headrace.api.rest.context import caller_of, context_of, identify, open_to_all
from headrace.api.rest.inference import PARAMETERS, Question, answering, answering_by_name, holds_ids
from headrace.api.rest.openapi import error_responses, json_body
from headrace.api.rest.refusals import INTERNAL_CODE, ErrorShape, Refusal
from headrace.api.rest.reply import json_response
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.shed import Sheddable
from headrace.api.tei import describe_server
from headrace.errors import RequestInvalid, TaskUnsupported
from headrace.models.manifest import Manifest
from headrace.options import Options, Truncate
from headrace.service import ServedModel
from headrace.tasks import spell
from headrace.types import Answer, Embedding, Similarity, TaskName

BY_NAME: Final = "/models/{name}"
"""Before a path of this dialect: the model that answers."""

_UNHEALTHY: Final = 503
_TYPES: Final[Mapping[str, str]] = {
    errors.QueueFull.code: "Overloaded",
    errors.LimitExceeded.code: "Overloaded",
    errors.TaskUnsupported.code: "Backend",
    errors.EngineFailed.code: "Backend",
    errors.OutputInvalid.code: "Backend",
    INTERNAL_CODE: "Backend",
}


def _write_error(refusal: Refusal) -> bytes:
    known = "Unhealthy" if refusal.status == _UNHEALTHY else "Validation"
    kind = _TYPES.get(refusal.code, known)
    # Clients of Cohere's API, which ask for rankings at the same paths, read the message and the id.
    fields = {"error": refusal.message, "error_type": kind, "message": refusal.message, "id": refusal.request_id}
    return orjson.dumps(fields)


ERRORS: Final = ErrorShape("application/json", _write_error, {errors.TaskUnsupported: 424})


class TeiRoute(DirectRoute):
    """A route of this dialect."""

    errors: ClassVar[ErrorShape] = ERRORS


def _read_texts(value: Any) -> Any:
    """Make a list of a single text, and say what is wrong with token ids.

    Raises:
        ValueError: Token ids are given instead of texts.
    """
    if holds_ids(value):
        raise ValueError("token ids are not read, send texts")
    return [value] if isinstance(value, str) else value


def _require_end(value: Any) -> Any:
    if str(value).lower() == "left":
        raise ValueError("only the end of a text is cut here, leave truncation_direction out")
    return value


Texts = Annotated[list[str], BeforeValidator(_read_texts, json_schema_input_type=str | list[str])]


class Cut(Question):
    """What may be said of texts that are over the model's window."""

    truncate: bool | None = Field(default=None, description="Cut a text over the model's window, else refuse it.")
    truncation_direction: Annotated[Literal["Right", "right"], BeforeValidator(_require_end)] = "Right"

    def choice(self) -> Truncate:
        """Return the service's word for it."""
        return "error" if self.truncate is False else "truncate"


class TeiEmbedRequest(Cut):
    """Texts to embed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": ["The water drives the wheel."]}]})

    inputs: Texts
    normalize: bool = True
    dimensions: int | None = Field(default=None, ge=1)
    prompt_name: str | None = None

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(
            truncate=self.choice(), normalize=self.normalize, dimensions=self.dimensions, prompt=self.prompt_name
        )
        return {"task": "embed", "inputs": tuple(self.inputs), "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        return _respond([cast("Embedding", result).values for result in answer.results], self.inputs, answer)


_TEXT: Final = {"type": "string"}


def _listed(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


class PredictRequest(Cut):
    """Texts to classify: one, or a list with a list for each."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "The plot was thin."}]})

    inputs: Annotated[
        list[list[str]],
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, _listed({"type": "string"}), _listed(_listed({"type": "string"}))]}
        ),
    ]
    raw_scores: bool = False
    is_single: SkipJsonSchema[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _read_rows(cls, content: Any) -> Any:
        """Make a list of lists of what was sent, and note whether it was one input: a list of texts is one of parts."""
        if not isinstance(content, dict) or "inputs" not in content:
            return content
        given = content["inputs"]
        row = [given] if isinstance(given, str) else given
        is_single = isinstance(row, list) and all(isinstance(part, str) for part in row)
        return {**content, "inputs": [row] if is_single else given, "is_single": is_single}

    def asked(self) -> Asked:
        """Return what the service is asked.

        Raises:
            RequestInvalid: There are pairs of texts, which no classifier here reads.
        """
        texts = tuple(starmap(_only, enumerate(self.inputs)))
        options = Options(truncate=self.choice(), raw=self.raw_scores)
        return {"task": "classify", "inputs": texts, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        labels = [spell("classify", result)["labels"] for result in answer.results]
        return _respond(labels[0] if self.is_single else labels, [row[0] for row in self.inputs], answer)


def _only(index: int, parts: Sequence[str]) -> str:
    if len(parts) != 1:
        raise RequestInvalid(
            f"an input has {len(parts)} texts and one is read: send each as a list of its own, [[text], [text]];"
            " pairs are for /rerank",
            field=f"inputs[{index}]",
        )
    return parts[0]


class SentencePairs(BaseModel):
    """A sentence, and those it is compared with."""

    source_sentence: str
    sentences: list[str]


class CompareParameters(Cut):
    """What may be chosen about a comparison."""

    prompt_name: str | None = None


class CompareRequest(Question):
    """Sentences to compare with one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": {"source_sentence": "a mill", "sentences": ["a wheel", "a car"]}}]}
    )

    inputs: SentencePairs
    parameters: CompareParameters = CompareParameters()

    def asked(self) -> Asked:
        """Return what the service is asked."""
        prompt = self.parameters.prompt_name
        options = Options(truncate=self.parameters.choice(), prompt=prompt, query_prompt=prompt)
        texts = tuple(self.inputs.sentences)
        return {"task": "similarity", "inputs": texts, "query": self.inputs.source_sentence, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        scores = [cast("Similarity", result).score for result in answer.results]
        return _respond(scores, self.inputs.sentences, answer)


class TeiError(BaseModel):
    """An error, as clients of text-embeddings-inference and of Cohere read it."""

    error: str
    error_type: Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]
    message: str
    id: str


TEI_ERRORS: Final = error_responses(TeiError, ERRORS.media_type)
router: Final = APIRouter(
    dependencies=[Depends(identify)], tags=["text-embeddings-inference"], responses=TEI_ERRORS, route_class=TeiRoute
)
probes: Final = APIRouter(
    dependencies=[Depends(open_to_all)], tags=["text-embeddings-inference"], responses=TEI_ERRORS, route_class=TeiRoute
)
SHAPES: Final[tuple[type[BaseModel], ...]] = (TeiEmbedRequest, PredictRequest, CompareRequest, TeiError)
"""What its routes refer to in the OpenAPI document."""

_QUESTIONS: Final[Mapping[str, tuple[TaskName, type[Question], str]]] = {
    "/embed": ("embed", TeiEmbedRequest, "Embed texts"),
    "/predict": ("classify", PredictRequest, "Classify texts"),
    "/similarity": ("similarity", CompareRequest, "Compare sentences with one"),
}
SHEDDABLE: Final = {
    where: Sheddable(task, ERRORS) for path, (task, _, _) in _QUESTIONS.items() for where in (path, BY_NAME + path)
}


def add_question(to: APIRouter, path: str, shape: type[Question], summary: str) -> None:
    """Add the routes of a question: for the first model that does it, and for each by name."""
    extra = {**json_body(shape), "parameters": [*PARAMETERS]}
    endpoints: Mapping[str, Callable[..., Any]] = {path: answering(shape), BY_NAME + path: answering_by_name(shape)}
    for where, endpoint in endpoints.items():
        to.add_api_route(where, endpoint, methods=["POST"], name=where, summary=summary, openapi_extra=extra)


for _path, (_, _shape, _summary) in _QUESTIONS.items():
    add_question(router, _path, _shape, _summary)


@router.post("/embed_sparse", summary="Refuse sparse embeddings")
async def embed_sparse(_request: Request) -> Response:
    """Refuse, as of a model that was not trained for them; the body is not read."""
    raise TaskUnsupported("no model here gives sparse embeddings; /embed gives dense ones")


@router.post(f"{BY_NAME}/embed_sparse", summary="Refuse sparse embeddings of a model")
async def embed_sparse_by_name(request: Request, name: str) -> Response:
    """Refuse, if the model is there; the body is not read."""
    context_of(request).service.task_of(caller_of(request), name)
    return await embed_sparse(request)


@probes.get("/health", summary="Would a request be answered?")
async def health(request: Request) -> Response:
    """Answer as ``/readyz`` does, where clients and what is deployed around them ask."""
    context_of(request).require_ready()
    return json_response({"status": "ok", "unix": time.time()})


@router.get("/info", summary="Describe the first model")
async def info(request: Request) -> Response:
    """Say which model answers by default, and what it takes."""
    return _describe(request, context_of(request).service.list_models(caller_of(request))[0])


@router.get(f"{BY_NAME}/info", summary="Describe a model")
async def info_by_name(request: Request, name: str) -> Response:
    """Say what a model takes."""
    return _describe(request, context_of(request).service.show_model(caller_of(request), name))


def _describe(request: Request, served: ServedModel) -> Response:
    content = {
        **describe_server(served, context_of(request).settings),
        "served_model_name": served.manifest.name,
        "model_type": _kind(served.manifest),
        "auto_truncate": True,
        "max_batch_requests": None,
        "sha": None,
        "docker_label": None,
    }
    return json_response(content)


def _kind(manifest: Manifest) -> dict[str, Any]:
    match manifest.task:
        case "embed":
            pooling = "last_token" if manifest.pooling == "lasttoken" else manifest.pooling
            return {"embedding": {"pooling": pooling}}
        case "classify" | "rerank":
            labels = manifest.labels or ("LABEL_0",)
            by_id = {str(index): label for index, label in enumerate(labels)}
            both = {"id2label": by_id, "label2id": {label: index for index, label in enumerate(labels)}}
            return {"classifier" if manifest.task == "classify" else "reranker": both}
        case task:
            raise TaskUnsupported(
                f"{manifest.name!r} does {task!r}, which this API has no word for; use /api/v1/{task}"
            )


def compute_headers(texts: Sequence[str], answer: Answer) -> dict[str, str]:
    """Return the headers with what an answer took, in milliseconds."""
    timings = answer.timings
    return {
        "x-compute-type": "cpu",
        "x-compute-characters": str(sum(map(len, texts))),
        "x-compute-tokens": str(answer.tokens),
        "x-compute-time": _ms(timings.tokenize_s + timings.run_s),
        "x-total-time": _ms(timings.total_s),
        "x-tokenization-time": _ms(timings.tokenize_s),
        "x-queue-time": _ms(timings.queue_s),
        "x-inference-time": _ms(timings.run_s),
    }


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def _respond(content: Any, texts: Sequence[str], answer: Answer) -> Response:
    response = json_response(content)
    response.headers.update(compute_headers(texts, answer))
    return response
