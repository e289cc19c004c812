"""``manifest.json``: what a model folder says about itself.

Written once by ``headrace import``, read by everything else. The revision is a digest of what decides the
answers (files and how to use them), not of names, dates or measurements: the same model imported twice has
the same revision, and a cache key that holds the revision can never serve another model's answer.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace.errors import ModelCorrupt
from headrace.types import MODEL_NAME, ModelTask, ScoreFunction, Traits

FILE_NAME: Final = "manifest.json"
CARD: Final = "card.md"
REFERENCE: Final = "reference.json"
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_WINDOW: Final = 131_072
IMPORT_AGAIN: Final = "import the model again"
"""What mends most of what can be wrong with a model folder."""

Pooling = Literal["mean", "cls", "max", "lasttoken"]
Words = Literal["spaces", "tokenizer"]
"""What makes words of a text: the spaces in it, or what the tokenizer splits it at first."""
Precision = Literal["fp32", "fp16", "quantized"]
"""What the weights of a graph are in: ``quantized`` if some have fewer bits, as the graph was shipped."""
# Not part of the revision: they say where a model came from and how it did, not what it answers.
_NOT_CONTENT: Final = {"revision", "name", "lineage", "gate", "comparison"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Frozen):
    """A file of the folder, as it was written."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class Tensor(_Frozen):
    """A named input or output of the graph; ``shape`` uses names for the axes that vary."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    dtype: Literal["int64", "float32"]
    shape: tuple[int | str, ...]


class GateOutput(_Frozen):
    """How far one output of the exported graph is from the original model's."""

    name: str
    min_cosine: float
    mean_cosine: float
    max_difference: float


class GateReport(_Frozen):
    """The accuracy gate's verdict: the original model against the graph, through the engine that serves."""

    passed: bool
    texts: int
    min_cosine_required: float
    max_difference_allowed: float
    outputs: tuple[GateOutput, ...]
    worst_text: str = Field(description="Label of the probe that differed most")


class VariantReport(_Frozen):
    """How one way to compute a model did beside float32.

    Attributes:
        size_bytes: Of the weights as they are computed with.
        texts_per_s: Median; ``speedup`` is the median of the ratios to float32, turn by turn.
        agreement: With the answers in float32; 1 if they are the same.
        score: The task's own figure, where the truth was known.
        verdict: Why it was let in or refused.
    """

    name: str
    size_bytes: int
    texts_per_s: float
    speedup: float
    agreement: float
    score: float | None
    passed: bool
    verdict: str


class Comparison(_Frozen):
    """Ways to compute a model, measured beside each other; which of them a version is, ``chosen`` says.

    Attributes:
        agreement: Name of what compares answers with those in float32.
        metric: Name of the task's own figure; nothing if the truth was not known.
        least_agreement: What was required without a metric.
        most_lost: Share of the figure that may be lost with one.
    """

    of_revision: str
    chosen: str | None = None
    texts: int
    agreement: str
    metric: str | None
    least_agreement: float
    most_lost: float
    cpu_model: str
    threads: int
    variants: tuple[VariantReport, ...]


class Lineage(_Frozen):
    """Where a model came from and what made it."""

    source: str
    source_revision: str | None
    weights_sha256: str
    architecture: str
    license: str | None
    created_at: str
    tools: dict[str, str]


class Manifest(_Frozen):
    """The whole of ``manifest.json``."""

    format: Literal[1] = 1
    name: str = Field(pattern=f"^{MODEL_NAME.pattern}$")
    revision: str = Field(pattern=r"^[0-9a-f]{64}$")
    task: ModelTask
    precision: Precision = "fp32"
    dimensions: int = Field(ge=1, le=65536)
    max_tokens: int = Field(ge=1, le=MAX_WINDOW)
    pooling: Pooling
    normalize: bool
    labels: tuple[str, ...] = ()
    function: ScoreFunction | None = None
    mask: str | None = None
    prompts: dict[str, str] = {}
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    files: dict[str, FileEntry]
    lineage: Lineage
    gate: GateReport
    comparison: Comparison | None = None

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def words(self) -> Words | None:
        """What counts as a word, if the task must know where the tokens are in the text."""
        if not any("length" in output.shape for output in self.outputs):
            return None
        return "tokenizer" if self.task == "answer" else "spaces"

    @property
    def traits(self) -> Traits:
        """What the task must know of the model."""
        return Traits(
            labels=self.labels,
            function=self.function or "softmax",
            mask=self.mask,
            dimensions=self.dimensions,
            prompts=self.prompts,
        )

    @model_validator(mode="after")
    def _check_revision(self) -> "Manifest":
        if self.revision != content_digest(self.model_dump(mode="json")):
            raise ValueError("the revision does not match the content")
        return self


def content_digest(fields: dict[str, Any]) -> str:
    """Return the SHA-256 of the fields that decide a model's answers, as lower-case hex."""
    # What is not set does not count, so a field that comes later changes no revision of before.
    content = {key: value for key, value in fields.items() if key not in _NOT_CONTENT and value is not None}
    # The card and the reference answers tell of the source and of measurements: no more content than those are.
    content["files"] = {name: entry for name, entry in fields["files"].items() if name not in {CARD, REFERENCE}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def make_manifest(**fields: Any) -> Manifest:
    """Build a manifest and give it its revision.

    Takes every field of ``Manifest`` but ``revision``.
    """
    draft = Manifest.model_construct(revision="", **fields).model_dump(mode="json", warnings="error")
    return Manifest(**{**draft, "revision": content_digest(draft)})


def parse_manifest(data: bytes, path: Path | str = FILE_NAME, remedy: str = IMPORT_AGAIN) -> Manifest:
    """Read ``manifest.json``.

    Args:
        data: Its content.
        path: Where it lies, for the message.
        remedy: What to do, for the message.

    Raises:
        ModelCorrupt: Not JSON, a wrong or missing field, or a revision that does not match the content.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelCorrupt(f"{path}: {place}: {first['msg']}; {remedy}", field=place) from error


def hold_to(manifest: Manifest, content: Mapping[str, object]) -> Manifest:
    """Return a manifest if it is that of some files, as ``publish`` found them.

    Raises:
        ModelCorrupt: It is not.
    """
    if content["files"] != manifest.files:
        raise ModelCorrupt(f"the files of {manifest.name!r} changed while they were stored; try again")
    return manifest
