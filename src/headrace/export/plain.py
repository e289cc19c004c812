"""The original model in NumPy: what the weights of a checkpoint say, without a graph, a runtime or PyTorch.

The exported graph is compared with it. It computes one text at a time, in float32 as PyTorch does, and is written to be
read: the shapes are (s tokens, h wide). That it agrees with transformers is tested for every family.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from headrace.export.architecture import MIN_NORM, Activation, Encoder, Head, Layer, Linear, Norm
from headrace.models.checkpoint import TOKENIZER, Checkpoint
from headrace.models.manifest import Pooling
from headrace.types import Arrays, FloatArray, Text

# NumPy has no error function. Between the points of a table it is a cubic Hermite polynomial, since its slope is known
# exactly; the error is under 1e-11.
_ERF_STEPS: Final = 256  # a unit
_ERF_END: Final = 6.0  # from here on it is 1 in float64
_ERF_AT: Final = np.arange(-_ERF_END, _ERF_END + 2 / _ERF_STEPS, 1 / _ERF_STEPS)
_ERF: Final = np.array([math.erf(x) for x in _ERF_AT])
_ERF_SLOPE: Final = 2 / math.sqrt(math.pi) * np.exp(-(_ERF_AT**2)) / _ERF_STEPS


class PlainOriginal:
    """Answers texts as the checkpoint's weights say.

    Args:
        checkpoint: Where the tokenizer is, the window and the pooling.
        encoder: Its weights.
        head: Gives a text scores (``Head``) or each of its tokens (``Linear``); without one, there are embeddings.
    """

    def __init__(self, checkpoint: Checkpoint, encoder: Encoder, head: Head | Linear | None = None) -> None:
        self._tokenize = load_tokenizer(checkpoint)
        self._encoder = encoder
        self._head = head
        self._pooling = checkpoint.pooling

    def answer(self, text: Text) -> Arrays:
        """Return ``embedding`` of shape ``(h,)`` and ``norm`` of shape ``()``, or scores for each label.

        Those of a text are ``logits``, shape ``(labels,)``, those of its tokens ``token_logits``, ``(s, labels)``.
        """
        states = encode(self._encoder, *self._tokenize(text))
        match self._head:
            case Head():
                return {"logits": classify(states, self._head)}
            case Linear():
                return {"token_logits": tag(states, self._head)}
        return scale(pool(states, self._pooling))


def load_tokenizer(checkpoint: Checkpoint) -> Callable[[Text], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return what makes the ids of a text or of two and their types, special tokens included, cut to the window."""
    tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint.folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(checkpoint.max_tokens)

    def tokenize(text: Text) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        encoding = tokenizer.encode(text) if isinstance(text, str) else tokenizer.encode(text[0], text[1])
        return np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64)

    return tokenize


def encode(encoder: Encoder, ids: NDArray[np.int64], types: NDArray[np.int64] | None = None) -> FloatArray:
    """Return the last layer's states of a text, shape ``(s, h)``; ``types`` has 1 for tokens of the second of two."""
    states = encoder.words[ids] + encoder.positions[: len(ids)]
    if encoder.segment is not None and types is not None:
        states = states + types[:, None].astype(np.float32) * encoder.segment
    states = _norm(states, encoder.embedding_norm, encoder.epsilon)
    if encoder.projection is not None:
        states = _linear(states, encoder.projection)
    for layer in encoder.layers:
        mixed = _attend(states, layer, encoder)
        states = _norm(states + _linear(mixed, layer.output), layer.attention_norm, encoder.epsilon)
        inner = _activate(_linear(states, layer.inner), encoder.activation)
        states = _norm(states + _linear(inner, layer.outer), layer.outer_norm, encoder.epsilon)
    return states


def pool(states: FloatArray, pooling: Pooling) -> FloatArray:
    """Return one vector for a text, shape ``(h,)``."""
    if pooling == "cls":
        return np.asarray(states[0])
    return np.asarray(states.max(axis=0) if pooling == "max" else states.mean(axis=0), dtype=np.float32)


def scale(pooled: FloatArray) -> Arrays:
    """Return ``embedding``, a vector of length 1, and ``norm``, the length it had."""
    norm = np.linalg.norm(pooled)
    return {"embedding": pooled / max(norm, np.float32(MIN_NORM)), "norm": np.asarray(norm)}


def classify(states: FloatArray, head: Head) -> FloatArray:
    """Return a score for each label."""
    inner = _linear(states[0], head.inner)
    active = np.tanh(inner) if head.activation == "tanh" else _activate(inner, head.activation)
    return _linear(active, head.outer)


def tag(states: FloatArray, head: Linear) -> FloatArray:
    """Return a score for each token and label, shape ``(s, labels)``."""
    return _linear(states, head)


def _linear(states: FloatArray, weights: Linear) -> FloatArray:
    return np.asarray(states @ weights.weight + weights.bias)


def _norm(states: FloatArray, weights: Norm, epsilon: float) -> FloatArray:
    away = states - states.mean(axis=-1, keepdims=True)
    variance = np.square(away).mean(axis=-1, keepdims=True)
    return np.asarray(away / np.sqrt(variance + np.float32(epsilon)) * weights.scale + weights.shift)


def _attend(states: FloatArray, layer: Layer, encoder: Encoder) -> FloatArray:
    """Return what every token takes from the others, before the output layer; shape ``(s, h)``."""
    length, hidden = states.shape
    depth = hidden // encoder.heads

    def heads(weights: Linear) -> FloatArray:
        return _linear(states, weights).reshape(length, encoder.heads, depth).transpose(1, 0, 2)  # (heads, s, depth)

    scores = heads(layer.query) @ heads(layer.key).transpose(0, 2, 1) / np.float32(math.sqrt(depth))  # (heads, s, s)
    if encoder.attention_bias is not None:
        scores = scores + encoder.attention_bias[0, :, :length, :length]
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray((shares @ heads(layer.value)).transpose(1, 0, 2).reshape(length, hidden))


def _activate(values: FloatArray, activation: Activation) -> FloatArray:
    if activation == "relu":
        return np.maximum(values, 0)
    wide = values.astype(np.float64)
    if activation == "gelu":
        share = 1 + erf(wide / math.sqrt(2))
    else:
        share = 1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    return np.asarray(0.5 * wide * share, dtype=np.float32)


def erf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error function of each value."""
    place = (np.clip(values, -_ERF_END, _ERF_END) + _ERF_END) * _ERF_STEPS
    left = place.astype(np.int64)
    t = place - left
    rest = 1 - t
    at_left = rest * rest * ((1 + 2 * t) * _ERF[left] + t * _ERF_SLOPE[left])
    at_right = t * t * ((3 - 2 * t) * _ERF[left + 1] - rest * _ERF_SLOPE[left + 1])
    return np.asarray(at_left + at_right)
