"""An encoder's weights and what is done with them, whatever its family called them."""

from dataclasses import dataclass
from typing import Final, Literal

from headrace.types import FloatArray

Activation = Literal["gelu", "gelu_tanh", "relu"]
HeadActivation = Literal["gelu", "relu", "tanh"]

MIN_NORM: Final = 1e-12
"""A shorter vector counts as one of this length: torch.nn.functional.normalize keeps zeros from dividing by zero so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A product and a sum: ``weight`` of shape ``(in, out)``, ``bias`` of shape ``(out,)``."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A layer norm's ``scale`` and ``shift``, both of shape ``(h,)``."""

    scale: FloatArray
    shift: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: attention, then the feed-forward part, each with the norm that follows it."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    attention_norm: Norm
    inner: Linear
    outer: Linear
    outer_norm: Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder's weights, whatever its family called them.

    Attributes:
        words: Shape ``(vocabulary, h)``.
        positions: Shape ``(window, h)``: row ``i`` is added to token ``i``, the first token type's row included.
        segment: Shape ``(h,)``: what is added to a token of the second of two texts, beside that; or nothing.
        projection: From the embeddings' width to the layers', where they differ (ELECTRA).
        attention_bias: Shape ``(1, heads, window, window)``, added to the scores (MPNet), or nothing.
    """

    words: FloatArray
    positions: FloatArray
    segment: FloatArray | None = None
    embedding_norm: Norm
    projection: Linear | None
    layers: tuple[Layer, ...]
    heads: int
    epsilon: float
    activation: Activation
    attention_bias: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a classifier does with the first token's state: two products, and an activation between them.

    Attributes:
        outer: Its columns are the labels.
    """

    inner: Linear
    activation: HeadActivation
    outer: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskHead:
    """What a model does with the state of a mask: a product, an activation, a norm, and a product with all words.

    Attributes:
        words: Shape ``(vocabulary, w)``: those of the encoder where both are one weight.
        bias: Shape ``(vocabulary,)``.
    """

    inner: Linear
    activation: Activation
    norm: Norm
    epsilon: float
    words: FloatArray
    bias: FloatArray
