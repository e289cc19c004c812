"""Cohere's embeddings: ``/v2/embed``, and ``/v1/embed`` for its older client. Its rankings are in ``rerank.py``.

What the texts are for (``input_type``) chooses the model's own prompt for that; a model that has none is asked without.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from headrace.api.asked import Asked
from headrace.api.rest.context import identify
from headrace.api.rest.inference import Question
from headrace.api.rest.reply import json_response, write_base64
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.tei import BY_NAME, ERRORS, TEI_ERRORS, TeiRoute, add_question
from headrace.options import Options, Purpose, Truncate
from headrace.tasks.embed import pack_signs
from headrace.types import Answer, Embedding, FloatArray

_PURPOSES: Final[Mapping[str, Purpose]] = {
    "search_query": "query",
    "search_document": "document",
    "classification": "classification",
    "clustering": "clustering",
}
_TRUNCATE: Final[Mapping[str, Truncate]] = {"NONE": "error", "END": "truncate"}
_FORMS: Final[Mapping[str, Callable[[FloatArray], Any]]] = {
    "float": lambda values: values,
    "base64": write_base64,
    "binary": lambda values: [byte - 128 for byte in pack_signs(values)],
    "ubinary": pack_signs,
}


def _refuse(reason: str, *refused: str) -> BeforeValidator:
    """Return what refuses some values, or any that is there, and says why."""

    def check(value: Any) -> Any:
        if value in refused if refused else value is not None:
            raise ValueError(reason)
        return value

    return BeforeValidator(check)


_NO_RANGES: Final = _refuse(
    "int8 and uint8 need the range of each number over many texts; ask for float, base64, binary or ubinary",
    "int8",
    "uint8",
)
_NO_START: Final = _refuse("only the end of a text is cut here; send END or NONE", "START")
Form = Annotated[Literal["float", "base64", "binary", "ubinary"], _NO_RANGES]
Unread = Annotated[None, _refuse("only texts are read; send texts")]


class CohereEmbedRequest(Question):
    """Texts to embed, as Cohere's clients ask."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["The water drives the wheel."], "input_type": "search_document"}]}
    )

    images: Unread = None
    inputs: Unread = None
    texts: list[str]
    model: str | None = Field(default=None, description="Name of the model; by default the first that embeds.")
    input_type: Literal["search_document", "search_query", "classification", "clustering"] | None = Field(
        default=None,
        description="What they are for: the model's own prompt for that is put before them, if it has one.",
    )
    embedding_types: list[Form] | None = Field(
        default=None, description="How they are written; binary and ubinary have a bit for the sign of each number."
    )
    truncate: Annotated[Literal["NONE", "END"], _NO_START] = Field(
        default="END", description="What happens to a text over the model's window: refuse it, or cut its end."
    )
    output_dimension: int | None = Field(
        default=None, ge=1, description="Keep so many of the first numbers, of a model that was trained for it."
    )
    max_tokens: Annotated[None, _refuse("texts are read up to the model's window; leave max_tokens out")] = None

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(
            truncate=_TRUNCATE[self.truncate],
            dimensions=self.output_dimension,
            purpose=_PURPOSES[self.input_type] if self.input_type else None,
        )
        return {"task": "embed", "inputs": tuple(self.texts), "model": self.model, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        forms = dict.fromkeys(self.embedding_types or ["float"])
        vectors = _vectors(answer)
        embeddings = {form: [_FORMS[form](values) for values in vectors] for form in forms}
        return self.frame(answer, request_id, response_type="embeddings_by_type", embeddings=embeddings)

    def frame(self, answer: Answer, request_id: str, **content: Any) -> Response:
        """Return the response, with what every answer has."""
        billed = {"input_tokens": answer.tokens}
        return json_response({"id": request_id, **content, "texts": self.texts, "meta": {"billed_units": billed}})


class CohereEmbedRequestV1(CohereEmbedRequest):
    """The same of the older version, where embeddings stand alone if nobody says how they are written."""

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        if self.embedding_types is not None:
            return super().respond(answer, request_id)
        return self.frame(answer, request_id, response_type="embeddings_floats", embeddings=_vectors(answer))


def _vectors(answer: Answer) -> list[FloatArray]:
    return [cast("Embedding", result).values for result in answer.results]


router: Final = APIRouter(dependencies=[Depends(identify)], tags=["cohere"], responses=TEI_ERRORS, route_class=TeiRoute)
_QUESTIONS: Final[Mapping[str, type[Question]]] = {"/v1/embed": CohereEmbedRequestV1, "/v2/embed": CohereEmbedRequest}
SHEDDABLE: Final = {where: Sheddable("embed", ERRORS) for path in _QUESTIONS for where in (path, BY_NAME + path)}
SHAPES: Final[Sequence[type[BaseModel]]] = tuple(_QUESTIONS.values())
"""What its routes refer to in the OpenAPI document."""

for _path, _shape in _QUESTIONS.items():
    add_question(router, _path, _shape, "Embed texts")
