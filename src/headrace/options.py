"""What a caller may choose about one request, whichever way it came in."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

Truncate = Literal["error", "truncate", "chunk"]
Aggregation = Literal["none", "simple", "first", "average", "max"]
"""How the labels of tokens become those of spans; the names and meanings are those of transformers."""

Purpose = Literal["query", "document", "classification", "clustering"]
"""What an embedding is for; models that were trained to be told so have a prompt for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller may choose about one request.

    Attributes:
        truncate: What to do with a text over the model's window: refuse it, cut it and say so, or run all of it in
            windows that overlap and combine what comes of them.
        normalize: Scale embeddings to length 1; ``None`` means as the model was trained to be used.
        dimensions: Keep so many of the first numbers of an embedding, of a model that was trained for it (Matryoshka,
            https://arxiv.org/abs/2205.13147); ``None`` means all.
        prompt: Name of the model's own prompt that is put before each text; ``None`` means none.
        purpose: What the embeddings are for, where no prompt is named: the model's own prompt for that is put before
            each text, if it has one.
        query_prompt: The same for the query as ``prompt``.
        top_k: How many labels, texts, answers or words to return, the best first; ``None`` means all, of answers one,
            of words five.
        threshold: Leave out labels, entities, answers or words with a lower score; ``None`` means none.
        aggregation: How the labels of tokens become those of spans.
        raw: Return scores as the model gives them instead of probabilities.
        max_answer_tokens: An answer that a model finds in a text has no more tokens.
        template: Makes a sentence of a label, which is put where it has ``{}``.
        multi_label: Score each label by itself, so that none or several may hold, instead of one among all.
    """

    truncate: Truncate = "truncate"
    normalize: bool | None = None
    dimensions: int | None = None
    prompt: str | None = None
    purpose: Purpose | None = None
    query_prompt: str | None = None
    top_k: int | None = None
    threshold: float | None = None
    aggregation: Aggregation = "simple"
    raw: bool = False
    max_answer_tokens: int = 15
    template: str = "This example is {}."
    multi_label: bool = False

    def resolved(self, *, normalize: bool) -> "Options":
        """Return the options with the model's own choice wherever the caller made none."""
        return self if self.normalize is not None else _normalized(self, normalize)

    def canonical(self, names: Sequence[str]) -> str:
        """Return the one spelling of the named options that cache keys are made of."""
        return _spell(self, tuple(names))


# Of the choices that there could be, callers make few.
@functools.lru_cache(maxsize=256)
def _normalized(options: Options, normalize: bool) -> Options:
    return replace(options, normalize=normalize)


@functools.lru_cache(maxsize=256)
def _spell(options: Options, names: tuple[str, ...]) -> str:
    return ",".join(f"{name}={getattr(options, name)!r}" for name in names)


class TextOptions(TypedDict, total=False):
    """What may be chosen about any text: arguments by name, of the methods that do a task."""

    truncate: Truncate


class EmbedOptions(TextOptions, total=False):
    """What may be chosen about an embedding."""

    normalize: bool | None
    dimensions: int | None
    prompt: str | None


class SimilarityOptions(TextOptions, total=False):
    """What may be chosen about a comparison."""

    dimensions: int | None
    prompt: str | None
    query_prompt: str | None


class LabelOptions(TextOptions, total=False):
    """What may be chosen about labels."""

    top_k: int | None
    threshold: float | None


class ClassifyOptions(LabelOptions, total=False):
    """What may be chosen about a classification."""

    raw: bool


class ZeroshotOptions(LabelOptions, total=False):
    """What may be chosen about labels that no model was trained on."""

    template: str
    multi_label: bool


class ExtractOptions(TextOptions, total=False):
    """What may be chosen about an extraction."""

    aggregation: Aggregation
    threshold: float | None


class FillOptions(LabelOptions, total=False):
    """What may be chosen about words for masks."""


class AnswerOptions(LabelOptions, total=False):
    """What may be chosen about answers."""

    max_answer_tokens: int


class RerankOptions(TextOptions, total=False):
    """What may be chosen about a ranking."""

    top_k: int | None
    raw: bool
