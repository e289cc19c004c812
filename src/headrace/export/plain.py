"""The original model in NumPy: what the weights of a checkpoint say, without a graph, a runtime or PyTorch.

The exported graph is compared with it. It computes one text at a time, in float32 as PyTorch does, and is written to be
read: the shapes are (s tokens, h wide). That it agrees with transformers is tested for every family.
"""

import math
from collections.abc import Callable

import numpy as np
import tokenizers
from numpy.typing import NDArray

from headrace.engine.activations import ACTIVATIONS
from headrace.export.architecture import MIN_NORM, Encoder, Head, Layer, Linear, MaskHead, Norm
from headrace.models.checkpoint import TOKENIZER, Checkpoint
from headrace.models.manifest import Pooling
from headrace.types import Arrays, FloatArray, Text


class PlainOriginal:
    """Answers texts as the checkpoint's weights say.

    Args:
        checkpoint: Where the tokenizer is, the window and the pooling.
        encoder: Its weights.
        head: Gives a text scores (``Head``), each of its tokens (``Linear``), or its masks words (``MaskHead``);
            without one, there are embeddings.
    """

    def __init__(self, checkpoint: Checkpoint, encoder: Encoder, head: Head | Linear | MaskHead | None = None) -> None:
        self._tokenize = load_tokenizer(checkpoint)
        self._mask = find_token(checkpoint, checkpoint.mask)
        self._encoder = encoder
        self._head = head
        self._pooling = checkpoint.pooling

    def answer(self, text: Text) -> Arrays:
        """Return ``embedding`` of shape ``(h,)`` and ``norm`` of shape ``()``, or scores for each label.

        Those of a text are ``logits``, shape ``(labels,)``, those of its tokens ``token_logits``, ``(s, labels)``. Of a
        text with masks there are ``token_states``, shape ``(m, w)``, which the words are compared with.
        """
        ids, types = self._tokenize(text)
        states = encode(self._encoder, ids, types)
        match self._head:
            case Head():
                return {"logits": classify(states, self._head)}
            case Linear():
                return {"token_logits": tag(states, self._head)}
            case MaskHead():
                return {"token_states": look_for_words(states[ids == self._mask], self._head)}
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


def find_token(checkpoint: Checkpoint, token: str | None) -> int | None:
    """Return the id of a token; nothing if there is none such."""
    if token is None:
        return None
    return tokenizers.Tokenizer.from_file(str(checkpoint.folder / TOKENIZER)).token_to_id(token)


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
        inner = ACTIVATIONS[encoder.activation](_linear(states, layer.inner))
        states = _norm(states + _linear(inner, layer.outer), layer.outer_norm, encoder.epsilon)
    return states


def pool(states: FloatArray, pooling: Pooling) -> FloatArray:
    """Return one vector for a text, shape ``(h,)``."""
    if pooling in {"cls", "lasttoken"}:
        return np.asarray(states[0 if pooling == "cls" else -1])
    return np.asarray(states.max(axis=0) if pooling == "max" else states.mean(axis=0), dtype=np.float32)


def scale(pooled: FloatArray) -> Arrays:
    """Return ``embedding``, a vector of length 1, and ``norm``, the length it had."""
    norm = np.linalg.norm(pooled)
    return {"embedding": pooled / max(norm, np.float32(MIN_NORM)), "norm": np.asarray(norm)}


def classify(states: FloatArray, head: Head) -> FloatArray:
    """Return a score for each label."""
    return _linear(ACTIVATIONS[head.activation](_linear(states[0], head.inner)), head.outer)


def tag(states: FloatArray, head: Linear) -> FloatArray:
    """Return a score for each token and label, shape ``(s, labels)``."""
    return _linear(states, head)


def look_for_words(states: FloatArray, head: MaskHead) -> FloatArray:
    """Return what words are compared with at each mask, shape ``(m, w)``."""
    return _norm(ACTIVATIONS[head.activation](_linear(states, head.inner)), head.norm, head.epsilon)


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
