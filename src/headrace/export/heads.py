"""What the known families have after the encoder, by the names that each has for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.export.architecture import Activation, Encoder, Head, HeadActivation, Linear, MaskHead
from headrace.export.families import NO_WEIGHTS, family_of, open_reader, read_body, refuse_rest
from headrace.export.reader import Reader, Weights

_ENDS_OF_SPAN: Final = 2


@dataclass(frozen=True, slots=True)
class HeadNames:
    """What a family calls the parts of a head that classifies texts, and what is between them.

    Attributes:
        is_pooler: Whether the inner part is kept with the encoder, under its prefix.
    """

    inner: str = "classifier.dense"
    outer: str = "classifier.out_proj"
    activation: HeadActivation = "tanh"
    is_pooler: bool = False


@dataclass(frozen=True, slots=True)
class _MaskNames:
    """What a family calls the parts of a head that finds words for masks.

    Attributes:
        words: Of the last product, where it is not the encoder's own words.
        bias: Of the last product; it may be there twice.
        activation: After the first product; nothing if it is that of the layers.
    """

    inner: str = "lm_head.dense"
    norm: str = "lm_head.layer_norm"
    words: str = "lm_head.decoder.weight"
    bias: tuple[str, ...] = ("lm_head.bias", "lm_head.decoder.bias")
    activation: Activation | None = "gelu"


_BERT_MASKS: Final = _MaskNames(
    inner="cls.predictions.transform.dense",
    norm="cls.predictions.transform.LayerNorm",
    words="cls.predictions.decoder.weight",
    bias=("cls.predictions.bias", "cls.predictions.decoder.bias"),
    activation=None,
)
_DISTILBERT_MASKS: Final = _MaskNames(
    inner="vocab_transform",
    norm="vocab_layer_norm",
    words="vocab_projector.weight",
    bias=("vocab_projector.bias",),
    activation=None,
)
_ELECTRA_MASKS: Final = _MaskNames(
    inner="generator_predictions.dense",
    norm="generator_predictions.LayerNorm",
    words="generator_lm_head.weight",
    bias=("generator_lm_head.bias",),
)

# A family that is not among these calls the parts as RoBERTa does.
_HEADS: Final[Mapping[str, HeadNames]] = {
    "bert": HeadNames("pooler.dense", "classifier", is_pooler=True),
    "distilbert": HeadNames("pre_classifier", "classifier", "relu"),
    "electra": HeadNames(activation="gelu"),
}
_MASKS: Final[Mapping[str, _MaskNames]] = {
    "bert": _BERT_MASKS,
    "distilbert": _DISTILBERT_MASKS,
    "electra": _ELECTRA_MASKS,
}


def head_names(config: Mapping[str, Any]) -> HeadNames:
    """Return what the family of a configuration calls the parts of its head."""
    return _HEADS.get(config["model_type"], HeadNames())


def name_classifier(config: Mapping[str, Any], weights: Weights, max_tokens: int, head: Weights) -> Weights:
    """Return the weights of an encoder of a known family and a head, by the names of a whole checkpoint.

    What ``read_classifier`` reads again.

    Args:
        config: As of ``families.read_encoder``.
        weights: As of ``families.read_encoder``; what is there of another head is left out.
        max_tokens: As of ``families.read_encoder``.
        head: ``inner.weight``, ``inner.bias``, ``outer.weight`` and ``outer.bias``, the products as PyTorch keeps them.

    Raises:
        SourceInvalid: As of ``families.read_encoder``.
    """
    reader, prefix, names = open_reader(config, weights, max_tokens), family_of(config).prefix, head_names(config)
    read_body(reader)
    inner = f"{prefix}.{names.inner}" if names.is_pooler else names.inner
    return {
        **{f"{prefix}.{name}": reader.weights[name] for name in sorted(reader.used)},
        **{f"{inner}.{kind}": head[f"inner.{kind}"] for kind in ("weight", "bias")},
        **{f"{names.outer}.{kind}": head[f"outer.{kind}"] for kind in ("weight", "bias")},
    }


def read_classifier(
    config: Mapping[str, Any], weights: Weights, max_tokens: int, labels: int, *, reads_pairs: bool = False
) -> tuple[Encoder, Head]:
    """Return the weights of an encoder of a known family with a head that classifies texts.

    Args:
        config: As of ``families.read_encoder``.
        weights: As of ``families.read_encoder``.
        max_tokens: As of ``families.read_encoder``.
        labels: How many there are; 1 if the head gives a number.
        reads_pairs: Whether it is given two texts at a time.

    Raises:
        SourceInvalid: As of ``families.read_encoder``.
        SourceUnsupported: As of ``families.read_encoder``.
    """
    reader = open_reader(config, weights, max_tokens, reads_pairs=reads_pairs)
    encoder, names, hidden = read_body(reader), head_names(config), reader.sizes.hidden
    head = Head(
        inner=reader.linear(names.inner, hidden, hidden),
        activation=names.activation,
        outer=reader.linear(names.outer, hidden, labels),
    )
    refuse_rest(reader, NO_WEIGHTS)
    return encoder, head


def read_tagger(config: Mapping[str, Any], weights: Weights, max_tokens: int, labels: int) -> tuple[Encoder, Linear]:
    """Return the weights of an encoder of a known family with a head that gives each token scores of labels.

    Args:
        config: As of ``families.read_encoder``.
        weights: As of ``families.read_encoder``.
        max_tokens: As of ``families.read_encoder``.
        labels: How many.

    Raises:
        SourceInvalid: As of ``families.read_encoder``.
        SourceUnsupported: As of ``families.read_encoder``.
    """
    return _read_token_head(open_reader(config, weights, max_tokens), "classifier", labels)


def read_span_finder(config: Mapping[str, Any], weights: Weights, max_tokens: int) -> tuple[Encoder, Linear]:
    """Return the weights of an encoder of a known family whose head says where an answer begins and where it ends.

    The arguments and errors are those of ``families.read_encoder``.
    """
    return _read_token_head(open_reader(config, weights, max_tokens, reads_pairs=True), "qa_outputs", _ENDS_OF_SPAN)


def read_filler(config: Mapping[str, Any], weights: Weights, max_tokens: int) -> tuple[Encoder, MaskHead]:
    """Return the weights of an encoder of a known family whose head finds words for masks.

    The arguments and errors are those of ``families.read_encoder``.
    """
    reader = open_reader(config, weights, max_tokens)
    encoder, names = read_body(reader), _MASKS.get(config["model_type"], _MaskNames())
    width = reader.sizes.words
    words = reader.tensor(names.words, None, width) if names.words in reader.weights else encoder.words
    bias = next((name for name in names.bias if name in reader.weights), names.bias[0])
    head = MaskHead(
        inner=reader.linear(names.inner, reader.sizes.hidden, width),
        activation=names.activation or encoder.activation,
        norm=reader.norm(names.norm, width),
        epsilon=encoder.epsilon,
        words=words,
        bias=reader.tensor(bias, len(words)),
    )
    refuse_rest(reader, (*NO_WEIGHTS, "pooler.", "cls.seq_relationship.", *names.bias))
    return encoder, head


def _read_token_head(reader: Reader, name: str, scores: int) -> tuple[Encoder, Linear]:
    """Return an encoder and a head that is called the same in every family."""
    encoder = read_body(reader)
    head = reader.linear(name, reader.sizes.hidden, scores)
    refuse_rest(reader, (*NO_WEIGHTS, "pooler."))  # saved along by old versions of transformers
    return encoder, head
