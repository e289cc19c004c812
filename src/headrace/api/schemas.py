"""The shapes of the native dialect: what is sent."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from headrace.auth.giving import MOST_MODELS, TENANT
from headrace.keyring import LONGEST
from headrace.models.roles import CandidateKind
from headrace.options import Aggregation, Options, Truncate
from headrace.types import MODEL_NAME, Scope, TaskName
from headrace.users import NAME

_DEFAULTS: Final = Options()


class Shape(BaseModel):
    """An object of exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lenient(BaseModel):
    """An object of another dialect, some fields of which are not read: clients send what other servers take besides."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _truncate(whole: str) -> Any:
    return Field(
        default="truncate",
        description=f"What happens to a text over the model's window: refuse it, cut it and say so, or {whole}.",
    )


_DIMENSIONS: Final[Any] = Field(
    default=None,
    ge=1,
    description="Keep so many of the first numbers, of a model that was trained for it (Matryoshka); by default all.",
)
_PROMPT: Final[Any] = Field(
    default=None, description="Name of the model's own prompt that is put before each text; by default none."
)


class _Texts(Shape):
    """What every task is asked with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["The plot was thin, but the cast carried it."]}]}
    )

    model: str | None = Field(default=None, description="Name of the model; by default the first that does this.")
    inputs: list[str] = Field(description="The texts; an empty text is a text.")

    def asked_query(self) -> str | None:
        """Return what the inputs are held against, if they are."""
        return None

    def asked_labels(self) -> tuple[str, ...]:
        """Return what the inputs may be about, if that is told."""
        return ()


class EmbedOptions(Shape):
    """What may be chosen about an embedding."""

    truncate: Truncate = _truncate("embed all of it in windows and combine them")
    normalize: bool | None = Field(
        default=None, description="Scale to length 1; by default as the model is meant to be used."
    )
    dimensions: int | None = _DIMENSIONS
    prompt: str | None = _PROMPT


class EmbedRequest(_Texts):
    """Texts to embed."""

    options: EmbedOptions = EmbedOptions()


class ClassifyOptions(Shape):
    """What may be chosen about a classification."""

    truncate: Truncate = _truncate(
        "classify all of it in windows: of one label among all the mean of the windows counts, of labels by themselves"
        " the greatest"
    )
    top_k: int | None = Field(default=None, ge=1, description="How many labels, the best first; by default all.")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Leave out labels with a lower score; by default none."
    )
    raw: bool = Field(default=False, description="Scores as the model gives them instead of probabilities.")


class ClassifyRequest(_Texts):
    """Texts to classify."""

    options: ClassifyOptions = ClassifyOptions()


class ExtractOptions(Shape):
    """What may be chosen about an extraction."""

    truncate: Truncate = _truncate("read all of it in windows; what stands at the border of two is found whole")
    aggregation: Aggregation = Field(
        default="simple",
        description="How the labels of tokens become spans: neighbours of one label together (simple), words first, by"
        " their first token, by the mean of their tokens or by the surest of them, or each token alone (none).",
    )
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Leave out entities with a lower score; by default none."
    )


class ExtractRequest(_Texts):
    """Texts to find entities in."""

    options: ExtractOptions = ExtractOptions()


class FillOptions(Shape):
    """What may be chosen about words for masks."""

    truncate: Truncate = _truncate("read those windows of it that have a mask, of which the surest counts")
    top_k: int = Field(default=5, ge=1, le=64, description="How many words of each mask, the best first.")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Leave out words with a lower score; by default none."
    )


class FillRequest(_Texts):
    """Texts with masks, as the model writes them, such as [MASK]."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["The water drives the [MASK] of the mill."]}]}
    )

    options: FillOptions = FillOptions()


class RegressOptions(Shape):
    """What may be chosen about a regression."""

    truncate: Truncate = _truncate("take the mean of all of it in windows")


class RegressRequest(_Texts):
    """Texts to read a number from."""

    options: RegressOptions = RegressOptions()


class Compared(_Texts):
    """What every task is asked with that holds texts against a query."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "a dull film", "inputs": ["The plot was thin.", "I sold my car."]}]}
    )

    query: str = Field(description="What each of the inputs is held against.")

    def asked_query(self) -> str:
        """Return what the inputs are held against."""
        return self.query


class RerankOptions(Shape):
    """What may be chosen about a ranking."""

    truncate: Truncate = _truncate("read all of it in windows, each with the query, of which the best counts")
    top_k: int | None = Field(default=None, ge=1, description="How many texts, the best first; by default all.")
    raw: bool = Field(default=False, description="Scores as the model gives them, without what it was trained with.")


class RerankRequest(Compared):
    """Texts to rank by how well they answer a query."""

    options: RerankOptions = RerankOptions()


class AnswerOptions(Shape):
    """What may be chosen about answers."""

    truncate: Truncate = _truncate("read all of it in windows, each with the query, of which the surest counts")
    top_k: int = Field(default=1, ge=1, le=100, description="How many answers of each text at most, the best first.")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Leave out answers with a lower score; by default none."
    )
    max_answer_tokens: int = Field(
        default=_DEFAULTS.max_answer_tokens, ge=1, le=128, description="Longest answer, in tokens of the model."
    )


class AnswerRequest(Compared):
    """Texts to find the answer to a question in, which is the query."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "Who built the mill?", "inputs": ["The mill was built by the monks in 1288."]}]
        }
    )

    options: AnswerOptions = AnswerOptions()


class ZeroshotOptions(Shape):
    """What may be chosen about labels that no model was trained on."""

    truncate: Truncate = _truncate("read all of it in windows, of which the surest counts for each label")
    template: str = Field(
        default=_DEFAULTS.template, description="Makes a sentence of a label, which is put where it has {}."
    )
    multi_label: bool = Field(
        default=False, description="Score each label by itself, so that none or several may hold, not one among all."
    )
    top_k: int | None = Field(default=None, ge=1, description="How many labels, the best first; by default all.")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Leave out labels with a lower score; by default none."
    )


class ZeroshotRequest(_Texts):
    """Texts to give labels that are chosen now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": ["The plot was thin, but the cast carried it."], "labels": ["film", "sport"]}]
        }
    )

    labels: list[str] = Field(description="What the texts may be about; each text is read once with each label.")
    options: ZeroshotOptions = ZeroshotOptions()

    def asked_labels(self) -> tuple[str, ...]:
        """Return what the inputs may be about."""
        return tuple(self.labels)


class SimilarityOptions(Shape):
    """What may be chosen about a comparison."""

    truncate: Truncate = _truncate("embed all of it in windows and combine them")
    dimensions: int | None = _DIMENSIONS
    prompt: str | None = _PROMPT
    query_prompt: str | None = Field(
        default=None, description="Name of the model's own prompt that is put before the query; by default none."
    )


class SimilarityRequest(Compared):
    """Texts to compare with a query."""

    options: SimilarityOptions = SimilarityOptions()


class VersionChoice(Shape):
    """A version of a model."""

    revision: str = Field(min_length=1, max_length=64, description="What its revision begins with.")


class CandidateChoice(VersionChoice):
    """A version to try out, and how."""

    kind: CandidateKind = Field(
        default="canary",
        description="A canary answers a share of the requests; a shadow is asked them again, and nobody gets its"
        " answers.",
    )
    share: float = Field(default=0.1, gt=0, le=1, description="Of the requests.")


_LONGEST_S: Final = LONGEST.total_seconds()


def _like(pattern: re.Pattern[str]) -> Any:
    """Describe what a string looks like; it is checked, with a message of its own, by whoever takes it."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


def _read_scope(value: Any) -> Any:
    # Bodies are read strictly, where a string is none of an enumeration.
    return next((scope for scope in Scope if scope == value), value)


class HolderChoice(Shape):
    """What a key or a user may do."""

    name: str = Field(min_length=1, max_length=64, description="What people call its holder.")
    scopes: list[Annotated[Scope, BeforeValidator(_read_scope)]] = Field(min_length=1, max_length=32)
    models: list[Annotated[str, _like(MODEL_NAME)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_MODELS,
        description="Names of models; by default those of its maker.",
    )
    tenant: Annotated[str, _like(TENANT)] | None = Field(
        default=None, description="Whose it is; by default its maker's, and for an admin of none any."
    )


class KeyChoice(HolderChoice):
    """What a key shall be for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "nightly job", "scopes": ["infer"]}]})

    lasts_s: float | None = Field(
        default=None, ge=0, le=_LONGEST_S, description="Seconds until it ends; by default for ever."
    )


class PasswordChoice(Shape):
    """A password."""

    password: SecretStr = Field(description="Of 12 to 256 characters.")


class UserChoice(HolderChoice, PasswordChoice):
    """What a user shall be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ada", "password": "made-up-password", "scopes": ["infer"]}]}
    )

    name: Annotated[str, _like(NAME)] = Field(description="By which they log in.")


class RotationChoice(Shape):
    """How a key is replaced."""

    grace_s: float = Field(
        default=0.0, ge=0, le=_LONGEST_S, description="Seconds for which the key before is still good."
    )


Inputs = (
    AnswerRequest
    | ClassifyRequest
    | EmbedRequest
    | ExtractRequest
    | FillRequest
    | RegressRequest
    | RerankRequest
    | SimilarityRequest
    | ZeroshotRequest
)
"""What a task is asked with."""

INPUTS: Final[Mapping[TaskName, type[Inputs]]] = {
    "answer": AnswerRequest,
    "classify": ClassifyRequest,
    "embed": EmbedRequest,
    "extract": ExtractRequest,
    "fill": FillRequest,
    "regress": RegressRequest,
    "rerank": RerankRequest,
    "similarity": SimilarityRequest,
    "zeroshot": ZeroshotRequest,
}
