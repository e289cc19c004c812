"""OpenAI's moderations under ``/v1``, answered by whichever classifier is served.

OpenAI's model has categories of its own, which are all bad; a classifier here has its labels, and some may be good.

- ``categories`` are the labels of the model, and nothing else: nobody judged OpenAI's. ``category_scores`` has their
  scores, and a category is true from 0.5 on: of a model that gives one label among all at most one is, of one whose
  labels stand each for itself several may be.
- ``flagged`` is true if a category is that is not harmless. Harmless is a label whose name says that there is nothing
  (``safe``, ``ham``, ``non-toxic`` beside ``toxic``), or what the request says instead in ``harmless``: of a model for
  ``NEGATIVE`` and ``POSITIVE`` nobody else can know. What is not known is flagged rather than missed.

Harm may be at the end of a text: one over the model's window is read in windows by default, and not cut.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from headrace.api.asked import Asked
from headrace.api.rest.context import identify
from headrace.api.rest.inference import PARAMETERS, Question, answering
from headrace.api.rest.openai import ERRORS, ErrorResponse, OpenAIRoute
from headrace.api.rest.openapi import error_responses, json_body
from headrace.api.rest.reply import json_response
from headrace.api.rest.shed import Sheddable
from headrace.api.schemas import Lenient
from headrace.errors import RequestInvalid
from headrace.options import Options, Truncate
from headrace.types import Answer, Classification, Label

_LEAST: Final = 0.5  # more likely than not
_HARMLESS: Final = frozenset(
    {"benign", "clean", "ham", "harmless", "legitimate", "neutral", "no", "none", "normal", "ok", "okay", "safe", "sfw"}
)
_NEGATIONS: Final = ("not", "non", "no")  # nothate, non-toxic, NO_SPAM


class TextPart(Lenient):
    """A part of an input: a text. Images are not read."""

    type: Literal["text"]
    text: str


def _read_parts(value: Any) -> Any:
    """Make a list of a single text, and one text of parts, as OpenAI gives one result for all of them.

    Raises:
        ValueError: A part is no text.
    """
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return [value] if isinstance(value, str) else value
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            shown = f"of type {kind[:40]!r}" if isinstance(kind, str) and kind != "text" else "no text"
            raise ValueError(f"part {index} is {shown}; only texts are read, as {{'type': 'text', 'text': '...'}}")
    return ["\n".join(part["text"] for part in value)]


class ModerationsRequest(Question):
    """Texts to moderate, as OpenAI's clients ask."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "The plot was thin."}]})

    model: str | None = Field(default=None, description="Name of the model; by default the first that classifies.")
    input: Annotated[
        list[str], BeforeValidator(_read_parts, json_schema_input_type=str | list[str] | list[TextPart])
    ] = Field(description="A text, a list of texts, or the parts of one text; images are not read.")
    harmless: list[str] | None = Field(
        default=None,
        description="Labels of the model that flag nothing; by default those whose names say so, such as safe.",
    )
    truncate: Truncate = Field(
        default="chunk",
        description="What happens to a text over the model's window: refuse it, cut it, or combine its windows.",
    )

    def asked(self) -> Asked:
        """Return what the service is asked."""
        options = Options(truncate=self.truncate)
        return {"task": "classify", "inputs": tuple(self.input), "model": self.model, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response.

        Raises:
            RequestInvalid: The model has no such label as is said to be harmless.
        """
        results = [cast("Classification", result).labels for result in answer.results]
        harmless = self._choose_harmless([label.name for label in results[0]])
        judged = [_judge(labels, harmless) for labels in results]
        return json_response({"id": request_id, "model": answer.model, "results": judged})

    def _choose_harmless(self, known: Sequence[str]) -> frozenset[str]:
        if self.harmless is None:
            return find_harmless(known)
        for index, name in enumerate(self.harmless):
            if name not in known:
                raise RequestInvalid(
                    f"the model has no label {name[:80]!r}; it has: {', '.join(sorted(known))[:400]}",
                    field=f"harmless[{index}]",
                )
        return frozenset(self.harmless)


def find_harmless(labels: Sequence[str]) -> frozenset[str]:
    """Return the labels whose names say that there is nothing: by a word for it, or of two by negating the other.

    Not of several: who looks for violent crimes and for non-violent ones looks for both.
    """
    names = {label: "".join(filter(str.isalnum, label.lower())) for label in labels}
    negated = {f"{no}{name}" for name in names.values() for no in _NEGATIONS} if len(names) == 2 else set()  # noqa: PLR2004 - one and its negation
    return frozenset(label for label, name in names.items() if name in _HARMLESS or name in negated)


def _judge(labels: Sequence[Label], harmless: frozenset[str]) -> dict[str, Any]:
    found = {label.name: label.score >= _LEAST for label in labels}
    return {
        "flagged": any(is_found and name not in harmless for name, is_found in found.items()),
        "categories": found,
        "category_scores": {label.name: label.score for label in labels},
        "category_applied_input_types": {label.name: ["text"] for label in labels},
    }


class ModerationObject(BaseModel):
    """What a model says of one text."""

    flagged: bool = Field(description="Whether a category is true that is not harmless.")
    categories: dict[str, bool] = Field(description="The labels of the model: true from a score of 0.5 on.")
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationList(BaseModel):
    """One result for each input, in the order of the inputs."""

    id: str
    model: str
    results: list[ModerationObject]


router: Final = APIRouter(
    prefix="/v1",
    dependencies=[Depends(identify)],
    tags=["openai"],
    responses=error_responses(ErrorResponse, ERRORS.media_type),
    route_class=OpenAIRoute,
)
SHEDDABLE: Final[Mapping[str, Sheddable]] = {"/v1/moderations": Sheddable("classify", ERRORS)}
SHAPES: Final[Sequence[type[BaseModel]]] = (ModerationsRequest,)
"""What its routes refer to in the OpenAPI document."""

router.add_api_route(
    "/moderations",
    answering(ModerationsRequest),
    methods=["POST"],
    name="moderations",
    summary="Moderate texts",
    description="Say of texts what a classifier finds in them, and whether that is to be flagged.",
    responses={200: {"model": ModerationList}},
    openapi_extra={**json_body(ModerationsRequest), "parameters": [*PARAMETERS]},
)
