"""The dialect of OpenAI's clients under ``/v1``: embeddings, and the list of models.

Its client asks for base64 by itself, and takes no other shape of error apart: of a problem it would show the status
alone. What other servers of this dialect read besides (``user``, ``priority``) is let through unread.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, cast

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from headrace import errors
from headrace.api.asked import Asked
from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.inference import PARAMETERS, Question, answering, holds_ids
from headrace.api.rest.openapi import error_responses, json_body
from headrace.api.rest.refusals import ErrorShape, Refusal
from headrace.api.rest.reply import json_response, spell_usage, write_base64
from headrace.api.rest.route import DirectRoute
from headrace.api.rest.shed import Sheddable
from headrace.models.manifest import Manifest
from headrace.options import Options, Truncate
from headrace.types import Answer, Embedding

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
# Those that its clients and what is built on them ask for; for the others they have no name.
_CODES: Final[Mapping[str, str]] = {
    errors.ModelUnknown.code: "model_not_found",
    errors.CallerUnknown.code: "invalid_api_key",
    errors.LimitExceeded.code: "rate_limit_exceeded",
    errors.QueueFull.code: "rate_limit_exceeded",
    errors.InputTooLong.code: "context_length_exceeded",
}
_FIRST_SERVER_ERROR: Final = 500


def _write_error(refusal: Refusal) -> bytes:
    known = "server_error" if refusal.status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    error = {
        "message": refusal.message,
        "type": _TYPES.get(refusal.status, known),
        "param": _name_here(refusal.field),
        "code": _CODES.get(refusal.code, refusal.code),
    }
    return orjson.dumps({"error": error})


def _name_here(field: str | None) -> str | None:
    """Return what this dialect calls a field of the native one."""
    if field is None:
        return None
    return field.removeprefix("options.").replace("inputs", "input", 1)


ERRORS: Final = ErrorShape("application/json", _write_error, {422: 400})


class OpenAIRoute(DirectRoute):
    """A route of this dialect."""

    errors: ClassVar[ErrorShape] = ERRORS


def _read_input(value: Any) -> Any:
    """Make a list of a single text, and say what is wrong with token ids: they would be read as another text."""
    if holds_ids(value):
        raise ValueError(
            "token ids are not read, since this model may have other ones; send texts"
            " (with langchain: check_embedding_ctx_length=False)"
        )
    return [value] if isinstance(value, str) else value


class EmbeddingsRequest(Question):
    """Texts to embed, as OpenAI's clients ask."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "The water drives the wheel."}]})

    model: str | None = Field(default=None, description="Name of the model; by default the first that embeds.")
    input: Annotated[list[str], BeforeValidator(_read_input, json_schema_input_type=str | list[str])] = Field(
        description="A text, or a list of texts; an empty text is a text."
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="Numbers, or the bytes of little-endian float32 in base64."
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Keep so many of the first numbers, of a model that was trained for it."
    )
    prompt: str | None = Field(default=None, description="Name of the model's own prompt that is put before each text.")
    truncate: Truncate = Field(
        default="error",
        description="What happens to a text over the model's window: refuse it, cut it, or combine its windows.",
    )

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(truncate=self.truncate, dimensions=self.dimensions, prompt=self.prompt)
        return {"task": "embed", "inputs": tuple(self.input), "model": self.model, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:  # noqa: ARG002 - as every question
        """Return the response."""
        return json_response(
            {"object": "list", "data": self.spell(answer), "model": answer.model, "usage": spell_usage(answer)}
        )

    def spell(self, answer: Answer) -> list[dict[str, Any]]:
        """Return the embeddings as they are written."""
        vectors = [cast("Embedding", result).values for result in answer.results]
        shown = map(write_base64, vectors) if self.encoding_format == "base64" else vectors
        return [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(shown)]


class EmbeddingObject(BaseModel):
    """One embedding."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class TokenUsage(BaseModel):
    """What a request used."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """One embedding for each input, in the order of the inputs."""

    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: TokenUsage


class ModelObject(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int = Field(description="When it was imported, in seconds of Unix time.")
    owned_by: str


class ModelList(BaseModel):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelObject]


class ErrorObject(BaseModel):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """An error, as OpenAI's clients read it."""

    error: ErrorObject


router: Final = APIRouter(
    prefix="/v1",
    dependencies=[Depends(identify)],
    tags=["openai"],
    responses=error_responses(ErrorResponse, ERRORS.media_type),
    route_class=OpenAIRoute,
)
SHEDDABLE: Final[Mapping[str, Sheddable]] = {"/v1/embeddings": Sheddable("embed", ERRORS)}
SHAPES: Final[Sequence[type[BaseModel]]] = (EmbeddingsRequest, ErrorResponse)
"""What its routes refer to in the OpenAPI document."""


router.add_api_route(
    "/embeddings",
    answering(EmbeddingsRequest),
    methods=["POST"],
    name="embeddings",
    summary="Embed texts",
    description="Turn texts into vectors: one for each input, in their order.",
    responses={200: {"model": EmbeddingList}},
    openapi_extra={**json_body(EmbeddingsRequest), "parameters": [*PARAMETERS]},
)


@router.get("/models", summary="List the models", response_model=ModelList)
async def list_models(request: Request) -> Response:
    """Return the models that are served; the first is the one a request without a model gets."""
    served = context_of(request).service.list_models(caller_of(request))
    data = [describe_model(model.manifest) for model in served if model.share is None]
    return json_response({"object": "list", "data": data})


@router.get("/models/{name:rest}", summary="Show a model", response_model=ModelObject)
async def show_model(request: Request, name: str) -> Response:
    """Return one of the models that are served."""
    return json_response(describe_model(context_of(request).service.show_model(caller_of(request), name).manifest))


def describe_model(manifest: Manifest) -> dict[str, Any]:
    """Return what is said of a model."""
    created = datetime.fromisoformat(manifest.lineage.created_at)
    return {"id": manifest.name, "object": "model", "created": int(created.timestamp()), "owned_by": "headrace"}
