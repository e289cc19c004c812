"""The common encoder families, told apart by where a checkpoint keeps its weights.

BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT and MPNet are one architecture under several names: word and
position embeddings, then layers of self-attention and a feed-forward part, each followed by a layer norm. Here the
names are translated; ``builder`` makes the graph.

Names as in transformers' ``modeling_*.py``; MPNet's position buckets as in T5 (https://arxiv.org/abs/1910.10683, 2.1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from headrace.types import FloatArray

Weights = Mapping[str, FloatArray]
Activation = Literal["gelu", "gelu_tanh", "relu"]

_ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_MPNET_MAX_DISTANCE: Final = 128


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
        positions: Shape ``(window, h)``: row ``i`` is added to token ``i``, the token type's row included.
        projection: From the embeddings' width to the layers', where they differ (ELECTRA).
        attention_bias: Shape ``(1, heads, window, window)``, added to the scores (MPNet), or nothing.
    """

    words: FloatArray
    positions: FloatArray
    embedding_norm: Norm
    projection: Linear | None
    layers: tuple[Layer, ...]
    heads: int
    epsilon: float
    activation: Activation
    attention_bias: FloatArray | None


def read_encoder(config: Mapping[str, Any], weights: Weights, max_tokens: int) -> Encoder | None:
    """Return the weights of an encoder of a known family, or nothing for any other.

    Args:
        config: The checkpoint's ``config.json``.
        weights: Its tensors by name, float32.
        max_tokens: The window; more position rows are not kept.
    """
    read = _FAMILIES.get(str(config.get("model_type")))
    activation = _ACTIVATIONS.get(str(config.get("hidden_act", config.get("activation"))))
    is_plain = config.get("position_embedding_type", "absolute") == "absolute" and not config.get("is_decoder")
    if read is None or activation is None or not is_plain:
        return None
    return read(_Reader(config, weights, max_tokens, activation))


@dataclass(frozen=True, slots=True)
class _Reader:
    config: Mapping[str, Any]
    weights: Weights
    max_tokens: int
    activation: Activation

    def linear(self, name: str) -> Linear:
        """PyTorch keeps a weight as ``(out, in)``; a product of rows wants ``(in, out)``."""
        return Linear(weight=self.weights[f"{name}.weight"].T, bias=self.weights[f"{name}.bias"])

    def norm(self, name: str) -> Norm:
        return Norm(scale=self.weights[f"{name}.weight"], shift=self.weights[f"{name}.bias"])

    def positions(self, first: int) -> FloatArray:
        """The position rows from the first one used, with the row of token type 0 where there are types."""
        rows = self.weights["embeddings.position_embeddings.weight"][first : first + self.max_tokens]
        types = self.weights.get("embeddings.token_type_embeddings.weight")
        return rows if types is None else rows + types[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerNames:
    """What a family calls the parts of a layer, below the layer's own name."""

    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    inner: str = "intermediate.dense"
    outer: str = "output.dense"
    outer_norm: str = "output.LayerNorm"


_BERT_LAYER: Final = _LayerNames(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
)
_MPNET_LAYER: Final = _LayerNames(
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    output="attention.attn.o",
    attention_norm="attention.LayerNorm",
)
_DISTILBERT_LAYER: Final = _LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    output="attention.out_lin",
    attention_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    outer_norm="output_layer_norm",
)


def _read_layer(reader: _Reader, layer: str, names: _LayerNames) -> Layer:
    return Layer(
        query=reader.linear(f"{layer}.{names.query}"),
        key=reader.linear(f"{layer}.{names.key}"),
        value=reader.linear(f"{layer}.{names.value}"),
        output=reader.linear(f"{layer}.{names.output}"),
        attention_norm=reader.norm(f"{layer}.{names.attention_norm}"),
        inner=reader.linear(f"{layer}.{names.inner}"),
        outer=reader.linear(f"{layer}.{names.outer}"),
        outer_norm=reader.norm(f"{layer}.{names.outer_norm}"),
    )


def _read_bert(reader: _Reader, first_position: int = 0) -> Encoder:
    config = reader.config
    return Encoder(
        words=reader.weights["embeddings.word_embeddings.weight"],
        positions=reader.positions(first_position),
        embedding_norm=reader.norm("embeddings.LayerNorm"),
        projection=reader.linear("embeddings_project") if "embeddings_project.weight" in reader.weights else None,
        layers=tuple(
            _read_layer(reader, f"encoder.layer.{index}", _BERT_LAYER) for index in range(config["num_hidden_layers"])
        ),
        heads=config["num_attention_heads"],
        epsilon=config["layer_norm_eps"],
        activation=reader.activation,
        attention_bias=None,
    )


def _read_roberta(reader: _Reader) -> Encoder:
    """RoBERTa numbers positions from the padding id on; its texts start with the row after that."""
    return _read_bert(reader, reader.config["pad_token_id"] + 1)


def _read_distilbert(reader: _Reader) -> Encoder:
    return Encoder(
        words=reader.weights["embeddings.word_embeddings.weight"],
        positions=reader.positions(0),
        embedding_norm=reader.norm("embeddings.LayerNorm"),
        projection=None,
        layers=tuple(
            _read_layer(reader, f"transformer.layer.{index}", _DISTILBERT_LAYER)
            for index in range(reader.config["n_layers"])
        ),
        heads=reader.config["n_heads"],
        epsilon=1e-12,  # fixed in transformers' modeling_distilbert.py
        activation=reader.activation,
        attention_bias=None,
    )


def _read_mpnet(reader: _Reader) -> Encoder:
    config = reader.config
    bias = reader.weights["encoder.relative_attention_bias.weight"]  # (buckets, heads)
    return Encoder(
        words=reader.weights["embeddings.word_embeddings.weight"],
        positions=reader.positions(config["pad_token_id"] + 1),
        embedding_norm=reader.norm("embeddings.LayerNorm"),
        projection=None,
        layers=tuple(
            _read_layer(reader, f"encoder.layer.{index}", _MPNET_LAYER) for index in range(config["num_hidden_layers"])
        ),
        heads=config["num_attention_heads"],
        epsilon=config["layer_norm_eps"],
        activation=reader.activation,
        attention_bias=bias[relative_buckets(reader.max_tokens, len(bias))].transpose(2, 0, 1)[None],
    )


def relative_buckets(window: int, buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each pair of positions, shape ``(window, window)``.

    Half of the buckets are for keys after the query; in each half the near distances have a bucket of their own and
    the far ones share buckets that grow with the logarithm of the distance.
    """
    distance = np.arange(window)[:, None] - np.arange(window)[None, :]  # query - key
    half = buckets // 2
    exact = half // 2
    far = np.abs(distance)
    scaled = np.log(np.maximum(far, 1) / exact) / np.log(_MPNET_MAX_DISTANCE / exact) * (half - exact)
    near_or_far = np.where(far < exact, far, np.minimum(exact + scaled.astype(np.int64), half - 1))
    return np.asarray(near_or_far + np.where(distance < 0, half, 0), dtype=np.int64)


_FAMILIES: Final[Mapping[str, Callable[[_Reader], Encoder]]] = {
    "bert": _read_bert,
    "camembert": _read_roberta,
    "distilbert": _read_distilbert,
    "electra": _read_bert,
    "mpnet": _read_mpnet,
    "roberta": _read_roberta,
    "xlm-roberta": _read_roberta,
}
