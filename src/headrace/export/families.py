"""The common encoder families, told apart by where a checkpoint keeps its weights.

BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT and MPNet are one architecture under several names: word and
position embeddings, then layers of self-attention and a feed-forward part, each followed by a layer norm. Here the
names are translated; ``builder`` makes the graph. A weight that is missing, has another shape than the configuration
asks for, or would be left out, is refused: transformers would make one up, or drop it.

Names and defaults as in transformers' ``modeling_*.py``; MPNet's position buckets as in T5
(https://arxiv.org/abs/1910.10683, 2.1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SourceUnsupported
from headrace.export.architecture import Activation, Encoder, Layer
from headrace.export.reader import EPSILON, Reader, Sizes, Weights
from headrace.types import FloatArray

_ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_MPNET_MAX_DISTANCE: Final = 128
_OLD_NAMES: Final = {"gamma": "weight", "beta": "bias"}
NO_WEIGHTS: Final = ("embeddings.position_ids", "embeddings.token_type_ids")
"""What the names of tensors begin with that checkpoints carry and nobody learned."""
# Heads of the training before, through which an embedding does not pass.
_UNUSED: Final = (
    *NO_WEIGHTS,
    *("pooler.", "cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    *("discriminator_predictions.", "generator_predictions.", "generator_lm_head."),
)


def is_known(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of an encoder of a known family, with nothing that we do not compute."""
    has_plain_positions = config.get("position_embedding_type", "absolute") == "absolute"
    is_plain = has_plain_positions and not config.get("is_decoder") and _activation_name(config) in _ACTIVATIONS
    return config.get("model_type") in _FAMILIES and is_plain


def read_encoder(config: Mapping[str, Any], weights: Weights, max_tokens: int) -> Encoder:
    """Return the weights of an encoder of a known family.

    Args:
        config: The checkpoint's ``config.json``, which ``is_known``.
        weights: Its tensors by name, float32.
        max_tokens: The window; more position rows are not kept.

    Raises:
        SourceInvalid: A weight is missing, broken or of another shape, or the configuration lacks a size.
        SourceUnsupported: There are weights that the graph would leave out.
    """
    reader = open_reader(config, weights, max_tokens)
    encoder = read_body(reader)
    refuse_rest(reader, _UNUSED)
    return encoder


def open_reader(config: Mapping[str, Any], weights: Weights, max_tokens: int, *, reads_pairs: bool = False) -> Reader:
    """Return a reader of a checkpoint of a known family.

    Args:
        config: As of ``read_encoder``.
        weights: As of ``read_encoder``.
        max_tokens: As of ``read_encoder``.
        reads_pairs: Whether the model is given two texts at a time.

    Raises:
        SourceInvalid: The configuration lacks a size.
    """
    family = family_of(config)
    return Reader(config, _rename(weights, family.prefix), max_tokens, family.sizes(config), reads_pairs)


def family_of(config: Mapping[str, Any]) -> "Family":
    """Return the family of a configuration that ``is_known``."""
    return _FAMILIES[config["model_type"]]


def read_body(reader: Reader) -> Encoder:
    """Return the encoder of a checkpoint, whatever head it has."""
    return family_of(reader.config).read(reader)


def refuse_rest(reader: Reader, known: tuple[str, ...]) -> None:
    """Refuse a checkpoint with weights that were not taken, unless they are known to be of no use here.

    Raises:
        SourceUnsupported: There are some.
    """
    left = sorted(name for name in reader.weights.keys() - reader.used if not name.startswith(known))
    if left:
        raise SourceUnsupported(
            f"the checkpoint has {len(left)} weights that no such {reader.config['model_type']} has, such as"
            f" {left[0]!r}; the graph would leave them out",
            field=left[0],
        )


def _activation_name(config: Mapping[str, Any]) -> str:
    return str(config.get("hidden_act", config.get("activation", "gelu")))


def _activation(config: Mapping[str, Any]) -> Activation:
    return _ACTIVATIONS[_activation_name(config)]


def _rename(weights: Weights, prefix: str) -> dict[str, FloatArray]:
    """Return the weights by their names within the encoder.

    A checkpoint with a head has the encoder's name before them, and one that came from TensorFlow calls a layer norm's
    parts gamma and beta.
    """
    renamed = {}
    for name, tensor in weights.items():
        stem, dot, last = name.removeprefix(f"{prefix}.").rpartition(".")
        renamed[f"{stem}{dot}{_OLD_NAMES.get(last, last)}"] = tensor
    return renamed


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


def _read_layers(reader: Reader, place: str, names: _LayerNames) -> tuple[Layer, ...]:
    return tuple(_read_layer(reader, f"{place}.{index}", names) for index in range(reader.sizes.layers))


def _read_layer(reader: Reader, layer: str, names: _LayerNames) -> Layer:
    hidden, inner = reader.sizes.hidden, reader.sizes.inner
    return Layer(
        query=reader.linear(f"{layer}.{names.query}", hidden, hidden),
        key=reader.linear(f"{layer}.{names.key}", hidden, hidden),
        value=reader.linear(f"{layer}.{names.value}", hidden, hidden),
        output=reader.linear(f"{layer}.{names.output}", hidden, hidden),
        attention_norm=reader.norm(f"{layer}.{names.attention_norm}"),
        inner=reader.linear(f"{layer}.{names.inner}", hidden, inner),
        outer=reader.linear(f"{layer}.{names.outer}", inner, hidden),
        outer_norm=reader.norm(f"{layer}.{names.outer_norm}"),
    )


def _read_bert(reader: Reader, first_position: int = 0) -> Encoder:
    sizes = reader.sizes
    return Encoder(
        words=reader.words(),
        positions=reader.positions(first_position),
        segment=reader.segment(),
        embedding_norm=reader.norm("embeddings.LayerNorm", sizes.words),
        projection=None
        if sizes.words == sizes.hidden
        else reader.linear("embeddings_project", sizes.words, sizes.hidden),
        layers=_read_layers(reader, "encoder.layer", _BERT_LAYER),
        heads=sizes.heads,
        epsilon=reader.epsilon,
        activation=_activation(reader.config),
        attention_bias=None,
    )


def _read_roberta(reader: Reader) -> Encoder:
    """RoBERTa numbers positions from the padding id on; its texts start with the row after that."""
    return _read_bert(reader, reader.first_position)


def _read_distilbert(reader: Reader) -> Encoder:
    return Encoder(
        words=reader.words(),
        positions=reader.positions(0),
        embedding_norm=reader.norm("embeddings.LayerNorm"),
        projection=None,
        layers=_read_layers(reader, "transformer.layer", _DISTILBERT_LAYER),
        heads=reader.sizes.heads,
        epsilon=EPSILON,  # fixed in transformers' modeling_distilbert.py
        activation=_activation(reader.config),
        attention_bias=None,
    )


def _read_mpnet(reader: Reader) -> Encoder:
    heads = reader.sizes.heads
    bias = reader.tensor("encoder.relative_attention_bias.weight", None, heads)  # (buckets, heads)
    return Encoder(
        words=reader.words(),
        positions=reader.positions(reader.first_position),
        embedding_norm=reader.norm("embeddings.LayerNorm"),
        projection=None,
        layers=_read_layers(reader, "encoder.layer", _MPNET_LAYER),
        heads=heads,
        epsilon=reader.epsilon,
        activation=_activation(reader.config),
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


_BERT_SIZES: Final = partial(
    Sizes.of,
    hidden="hidden_size",
    inner="intermediate_size",
    layers="num_hidden_layers",
    heads="num_attention_heads",
)
_DISTILBERT_SIZES: Final = partial(Sizes.of, hidden="dim", inner="hidden_dim", layers="n_layers", heads="n_heads")


@dataclass(frozen=True, slots=True)
class Family:
    """How the checkpoints of a family are read.

    Attributes:
        name: As the names of its classes in transformers begin.
        prefix: What stands before a weight's name where the checkpoint has a head.
    """

    name: str
    prefix: str
    read: Callable[[Reader], Encoder]
    sizes: Callable[[Mapping[str, Any]], Sizes] = _BERT_SIZES


_FAMILIES: Final[Mapping[str, Family]] = {
    "bert": Family("Bert", "bert", _read_bert),
    "camembert": Family("Camembert", "roberta", _read_roberta),
    "distilbert": Family("DistilBert", "distilbert", _read_distilbert, _DISTILBERT_SIZES),
    "electra": Family("Electra", "electra", _read_bert),
    "mpnet": Family("MPNet", "mpnet", _read_mpnet),
    "roberta": Family("Roberta", "roberta", _read_roberta),
    "xlm-roberta": Family("XLMRoberta", "roberta", _read_roberta),
}
