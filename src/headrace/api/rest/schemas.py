"""The shapes of the native dialect: what is sent, and what comes back."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.service import ServedModel


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbedOptions(_Shape):
    """What may be chosen about an embedding."""

    truncate: Literal["error", "truncate", "chunk"] = Field(
        default="truncate",
        description="What happens to a text over the model's window: refuse it, cut it and say so, or embed all of it "
        "in windows and combine them.",
    )
    normalize: bool | None = Field(
        default=None, description="Scale to length 1; by default as the model is meant to be used."
    )


class EmbedRequest(_Shape):
    """Texts to embed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["The plot was thin, but the cast carried it."]}]}
    )

    model: str | None = Field(default=None, description="Name of the model; the default model if left out.")
    inputs: list[str] = Field(description="The texts; an empty text is a text.")
    options: EmbedOptions = EmbedOptions()


class EmbedResult(_Shape):
    """The embedding of one text."""

    embedding: list[float]
    tokens: int = Field(description="Tokens computed, special tokens included, in all windows.")
    truncated: bool = Field(description="Whether the text was cut to the model's window.")
    windows: int = Field(description="In how many windows the text was computed; above 1 only with chunk.")


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


class EmbedResponse(_Shape):
    """One result for each input, in the order of the inputs."""

    model: str
    revision: str
    task: Literal["embed"]
    results: list[EmbedResult]
    usage: Usage
    timings_ms: TimingsMs


class Model(_Shape):
    """A model that is served."""

    name: str
    revision: str
    task: str
    runtime: str = Field(description="Library that computes.")
    precision: str = Field(description="What it computes in; answers are float32 always.")
    dimensions: int
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
