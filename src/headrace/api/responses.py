"""The shapes of the native dialect: what comes back."""

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import Field

from headrace.api.schemas import Shape
from headrace.models.roles import CandidateKind
from headrace.service import ServedModel
from headrace.types import Scope, TaskName

R = TypeVar("R", bound=Shape)


class _Result(Shape):
    """What every result says."""

    tokens: int = Field(description="Tokens computed, special tokens included, in all windows.")
    truncated: bool = Field(description="Whether the text was cut to the model's window.")
    windows: int = Field(description="In how many windows the text was computed; above 1 only with chunk.")


class EmbedResult(_Result):
    """The embedding of one text."""

    embedding: list[float]


class LabelScore(Shape):
    """A label and its score."""

    label: str
    score: float = Field(description="A probability, unless raw scores were asked for.")


class ClassifyResult(_Result):
    """The labels of one text."""

    labels: list[LabelScore] = Field(description="The best first.")


class EntitySpan(Shape):
    """A span of a text and its label."""

    label: str
    score: float = Field(description="A probability: the mean over the tokens or words of the span.")
    start: int = Field(description="Index of its first character, counted in Unicode code points.")
    end: int = Field(description="Index after its last character.")
    text: str = Field(description="The input from start to end.")


class ExtractResult(_Result):
    """The entities of one text."""

    entities: list[EntitySpan] = Field(description="In the order of the text.")


class MaskWord(Shape):
    """A word that may stand in the place of a mask."""

    text: str = Field(description="As the model has it, with the space before it where that is part of its words.")
    score: float = Field(description="Probability among all words of the model.")


class MaskFound(Shape):
    """A mask in a text."""

    start: int = Field(description="Index of its first character, counted in Unicode code points.")
    end: int = Field(description="Index after its last character.")
    words: list[MaskWord] = Field(description="The best first.")


class FillResult(_Result):
    """The masks of one text."""

    masks: list[MaskFound] = Field(description="In the order of the text.")


class RegressResult(_Result):
    """The number of one text."""

    value: float


class AnswerSpan(Shape):
    """A part of a text that answers the question."""

    text: str = Field(description="The input from start to end.")
    score: float = Field(description="A probability.")
    start: int = Field(description="Index of its first character, counted in Unicode code points.")
    end: int = Field(description="Index after its last character.")


class AnswerResult(_Result):
    """What one text says to the question."""

    answers: list[AnswerSpan] = Field(description="The best first.")
    no_answer: float = Field(
        description="Probability that the text has none; means little for a model that never saw such questions."
    )


class RerankResult(_Result):
    """How well one text answers the query."""

    index: int = Field(description="Its place among the inputs.")
    score: float = Field(description="The higher, the better; what it means is the model's.")


class SimilarityResult(_Result):
    """How near one text is to the query."""

    score: float = Field(description="Cosine of the angle between the two embeddings.")


class Usage(Shape):
    """What the request used."""

    tokens: int
    cached: int = Field(description="Results that were remembered, not computed.")


class TimingsMs(Shape):
    """Where the time went, in milliseconds."""

    queue: float
    tokenize: float
    run: float
    total: float


class _Response(Shape):
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


class FillResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["fill"]
    results: list[FillResult]


class RegressResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["regress"]
    results: list[RegressResult]


class RerankResponse(_Response):
    """The inputs, the best first."""

    task: Literal["rerank"]
    results: list[RerankResult]


class AnswerResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["answer"]
    results: list[AnswerResult]


class ZeroshotResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["zeroshot"]
    results: list[ClassifyResult]


class SimilarityResponse(_Response):
    """One result for each input, in the order of the inputs."""

    task: Literal["similarity"]
    results: list[SimilarityResult]


class Kept(Shape, Generic[R]):
    """What comes of one text, without what would be another thing the next time."""

    model: str
    revision: str
    task: TaskName
    result: R


class Model(Shape):
    """A model that is served."""

    name: str
    revision: str
    role: str = Field(description="champion: answers; canary: answers a share; shadow: is only compared.")
    share: float | None = Field(description="Of the requests, of a version that is tried out.")
    task: str
    runtime: str = Field(description="Library that computes.")
    precision: str = Field(description="What it computes in; answers are float32 always.")
    dimensions: int = Field(
        description="Numbers that it gives for a text or a token: where it has labels, one for each."
    )
    labels: list[str] = Field(description="Of a classifier of texts or tokens, in the order of its scores.")
    mask: str | None = Field(description="What stands for a word that it is to find.")
    prompts: dict[str, str] = Field(description="What it was trained to see before a text, by name.")
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
            role=served.role,
            share=served.share,
            task=manifest.task,
            runtime=plan.runtime,
            precision=plan.precision,
            dimensions=manifest.dimensions,
            labels=list(manifest.labels),
            mask=manifest.mask,
            prompts=dict(manifest.prompts),
            max_tokens=manifest.max_tokens,
            pooling=manifest.pooling,
            normalize=manifest.normalize,
            source=manifest.lineage.source,
            license=manifest.lineage.license,
        )


class Models(Shape):
    """The models that are served; the first is the default."""

    models: list[Model]


class CandidateState(Shape):
    """The version that is tried out."""

    revision: str
    kind: CandidateKind
    share: float


class RolesResponse(Shape):
    """Which versions of a model do what."""

    model: str
    champion: str = Field(description="The revision that answers.")
    previous: str | None = Field(description="The one before, which a rollback brings back.")
    candidate: CandidateState | None = Field(description="The one that is tried out beside it.")


class Problem(Shape):
    """An error (RFC 9457), with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; made to be switched on.")
    retryable: bool = Field(description="Whether the same request can succeed later.")
    request_id: str
    field: str | None = Field(default=None, description="The offending value, such as inputs[3].")


class Probe(Shape):
    """Answer of a probe."""

    status: Literal["live", "ready"]


class KeyShown(Shape):
    """What a key is for."""

    id: str
    name: str
    tenant: str = Field(description="Whose it is; empty where there is only one.")
    scopes: list[Scope]
    models: list[str] | None = Field(description="The models it may be used for; null for all.")
    created_at: datetime
    ends_at: datetime | None = Field(description="From when on it is refused; null for never.")


class NewKeyShown(KeyShown):
    """A key that was just made."""

    key: str | None = Field(
        description="The key itself, which is not kept: null where an answer is repeated (`Idempotency-Key`)."
    )


class KeysShown(Shape):
    """A page of keys."""

    keys: list[KeyShown]
    next: str | None = Field(description="The cursor of the next page; null if this is the last.")


class UserShown(Shape):
    """What a user may do."""

    id: str
    name: str
    tenant: str = Field(description="Whose user it is; empty where there is only one.")
    scopes: list[Scope]
    models: list[str] | None = Field(description="The models they may use; null for all.")
    created_at: datetime


class UsersShown(Shape):
    """A page of users."""

    users: list[UserShown]
    next: str | None = Field(description="The cursor of the next page; null if this is the last.")


class TokensIssued(Shape):
    """Tokens that were just made (RFC 6749, 5.1)."""

    access_token: str = Field(description="Shown as an API key is.")
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds for which the access token is good.")
    scope: str = Field(description="What may be done with it, with spaces between.")
    refresh_token: str | None = Field(default=None, description="For a user: good once, for the next tokens.")


class OAuthError(Shape):
    """Why there are no tokens (RFC 6749, 5.2)."""

    error: str = Field(description="One of the RFC's words, such as invalid_grant.")
    error_description: str
    code: str = Field(description="Stable, and the same as in other errors of this server.")
    request_id: str


class JsonWebKeys(Shape):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]


class ChangeShown(Shape):
    """Who changed what."""

    number: int
    at: datetime
    caller: str
    tenant: str
    action: str = Field(description="Such as key.created; with the code of an error where it failed.")
    subject: str


class Changes(Shape):
    """A page of changes."""

    changes: list[ChangeShown]
    next: int | None = Field(description="The cursor of the next page; null if this is the last.")
