"""The shapes of the native dialect: what is sent, and what comes back."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.service import ServedModel
from headrace.types import Aggregation, Truncate


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _truncate(whole: str) -> Any:
    return Field(
        default="truncate",
        description=f"What happens to a text over the model's window: refuse it, cut it and say so, or {whole}.",
    )


class _Texts(_Shape):
    """What every task is asked with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["The plot was thin, but the cast carried it."]}]}
    )

    model: str | None = Field(default=None, description="Name of the model; by default the first that does this.")
    inputs: list[str] = Field(description="The texts; an empty text is a text.")


class EmbedOptions(_Shape):
    """What may be chosen about an embedding."""

    truncate: Truncate = _truncate("embed all of it in windows and combine them")
    normalize: bool | None = Field(
        default=None, description="Scale to length 1; by default as the model is meant to be used."
    )


class EmbedRequest(_Texts):
    """Texts to embed."""

    options: EmbedOptions = EmbedOptions()


class ClassifyOptions(_Shape):
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


class ExtractOptions(_Shape):
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


class RegressOptions(_Shape):
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


class RerankOptions(_Shape):
    """What may be chosen about a ranking."""

    truncate: Truncate = _truncate("read all of it in windows, each with the query, of which the best counts")
    top_k: int | None = Field(default=None, ge=1, description="How many texts, the best first; by default all.")
    raw: bool = Field(default=False, description="Scores as the model gives them, without what it was trained with.")


class RerankRequest(Compared):
    """Texts to rank by how well they answer a query."""

    options: RerankOptions = RerankOptions()


class SimilarityOptions(_Shape):
    """What may be chosen about a comparison."""

    truncate: Truncate = _truncate("embed all of it in windows and combine them")


class SimilarityRequest(Compared):
    """Texts to compare with a query."""

    options: SimilarityOptions = SimilarityOptions()


class _Result(_Shape):
    """What every result says."""

    tokens: int = Field(description="Tokens computed, special tokens included, in all windows.")
    truncated: bool = Field(description="Whether the text was cut to the model's window.")
    windows: int = Field(description="In how many windows the text was computed; above 1 only with chunk.")


class EmbedResult(_Result):
    """The embedding of one text."""

    embedding: list[float]


class LabelScore(_Shape):
    """A label and its score."""

    label: str
    score: float = Field(description="A probability, unless raw scores were asked for.")


class ClassifyResult(_Result):
    """The labels of one text."""

    labels: list[LabelScore] = Field(description="The best first.")


class EntitySpan(_Shape):
    """A span of a text and its label."""

    label: str
    score: float = Field(description="A probability: the mean over the tokens or words of the span.")
    start: int = Field(description="Index of its first character, counted in Unicode code points.")
    end: int = Field(description="Index after its last character.")
    text: str = Field(description="The input from start to end.")


class ExtractResult(_Result):
    """The entities of one text."""

    entities: list[EntitySpan] = Field(description="In the order of the text.")


class RegressResult(_Result):
    """The number of one text."""

    value: float


class RerankResult(_Result):
    """How well one text answers the query."""

    index: int = Field(description="Its place among the inputs.")
    score: float = Field(description="The higher, the better; what it means is the model's.")


class SimilarityResult(_Result):
    """How near one text is to the query."""

    score: float = Field(description="Cosine of the angle between the two embeddings.")


class Usage(_Shape):
    """What the request used."""

    tokens: int
    cached: int = Field(description="Results that were remembered, not computed.")


class TimingsMs(_Shape):
    """Where the time went, in milliseconds."""

    queue: float
    tokenize: float
    run: float
    total: float


class _Response(_Shape):
    """What every response says beside its results."""

    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs


class EmbedResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["embed"]
    results: list[EmbedResult]


class ClassifyResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["classify"]
    results: list[ClassifyResult]


class ExtractResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["extract"]
    results: list[ExtractResult]


class RegressResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["regress"]
    results: list[RegressResult]


class RerankResponse(_Response):
    """The inputs, the best first."""

    task: Literal["rerank"]
    results: list[RerankResult]


class SimilarityResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["similarity"]
    results: list[SimilarityResult]


Inputs = ClassifyRequest | EmbedRequest | ExtractRequest | RegressRequest | RerankRequest | SimilarityRequest
"""What a task is asked with."""


class Model(_Shape):
    """A model that is served."""

    name: str
    revision: str
    task: str
    runtime: str = Field(description="Library that computes.")
    precision: str = Field(description="What it computes in; answers are float32 always.")
    dimensions: int = Field(
        description="Numbers that it gives for a text or a token: where it has labels, one for each."
    )
    labels: list[str] = Field(description="Of a classifier of texts or tokens, in the order of its scores.")
    max_tokens: int
    pooling: str
    normalize: bool
    source: str
    license: str | None

    @classmethod
    def of(cls, served: ServedModel) -> "Model":
        """Return what callers may know of a model."""
        manifest, plan = served.manifest, served.plan
        return cls(
            name=manifest.name,
            revision=manifest.revision,
            task=manifest.task,
            runtime=plan.runtime,
            precision=plan.precision,
            dimensions=manifest.dimensions,
            labels=list(manifest.labels),
            max_tokens=manifest.max_tokens,
            pooling=manifest.pooling,
            normalize=manifest.normalize,
            source=manifest.lineage.source,
            license=manifest.lineage.license,
        )


class Models(_Shape):
    """The models that are served; the first is the default."""

    models: list[Model]


class Problem(_Shape):
    """An error (RFC 9457), with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; made to be switched on.")
    retryable: bool = Field(description="Whether the same request can succeed later.")
    request_id: str
    field: str | None = Field(default=None, description="The offending value, such as inputs[3].")


class Probe(_Shape):
    """Answer of a probe."""

    status: Literal["live", "ready"]
