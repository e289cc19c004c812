"""Words for a mask: what the states of tokens say of the whole vocabulary, where a text has left a word out.

The graph of such a model ends with the encoder's states. What comes after them is as large as the vocabulary, so it is
computed for the masks alone, of which a text has one or two: for every token it would be more than the encoder itself.
"""

import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.activations import ACTIVATIONS
from headrace.engine.base import Backend, Bell, Steps, TokenBatch
from headrace.engine.initializers import read_initializers
from headrace.engine.tokenizer import Spelling
from headrace.errors import ModelCorrupt
from headrace.models.disk import reading
from headrace.types import FloatArray

HEAD: Final = "head.npz"
"""The file beside the graph that holds what comes after it."""
STATES: Final = "token_states"
"""The graph's output, and what the head makes of it before it looks at the vocabulary."""
SCORES: Final = "token_scores"
WORDS: Final = "token_words"
OUTPUTS: Final = (STATES, SCORES, WORDS)
MOST_WORDS: Final = 64
"""The likeliest words of each mask that an engine gives."""
_ROWS: Final = 16  # masks at a time: with the largest vocabularies, 250,000 words, that is 16 MB of scores


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyHead:
    """What is done with the state of a mask: a product, an activation, a layer norm, and a score for each word.

    Attributes:
        inner: Shape ``(h, w)``.
        inner_bias: Shape ``(w,)``.
        activation: Between the product and the norm.
        scale: Shape ``(w,)``, as ``shift``.
        epsilon: Keeps the norm from dividing by zero.
        words: Shape ``(vocabulary, w)``.
        bias: Shape ``(vocabulary,)``.
    """

    inner: FloatArray
    inner_bias: FloatArray
    activation: str
    scale: FloatArray
    shift: FloatArray
    epsilon: float
    words: FloatArray
    bias: FloatArray

    def transform(self, states: FloatArray) -> FloatArray:
        """Return what is compared with the words, shape ``(m, w)``, of states of shape ``(m, h)``."""
        inner = ACTIVATIONS[self.activation](states @ self.inner + self.inner_bias)
        away = inner - inner.mean(axis=1, keepdims=True)
        variance = np.square(away).mean(axis=1, keepdims=True)
        return np.asarray(away / np.sqrt(variance + np.float32(self.epsilon)) * self.scale + self.shift)

    def choose(self, transformed: FloatArray, count: int) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the ids of the likeliest words of each mask and their probabilities, the best first."""
        ids = np.zeros((len(transformed), count), np.int64)
        shares = np.zeros((len(transformed), count), np.float32)
        for start in range(0, len(transformed), _ROWS):
            rows = slice(start, start + _ROWS)
            scores = transformed[rows] @ self.words.T + self.bias
            chosen = np.argpartition(scores, -count, axis=1)[:, -count:]
            # Of equal ones that with the smaller id comes first, on every machine.
            order = np.lexsort((chosen, -np.take_along_axis(scores, chosen, 1)), axis=1)
            ids[rows] = np.take_along_axis(chosen, order, 1)
            powers = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
            shares[rows] = np.take_along_axis(powers, ids[rows], 1) / powers.sum(axis=1, keepdims=True)
        return ids, shares


_FIELDS: Final = tuple(field.name for field in fields(VocabularyHead))


def write_head(path: Path, head: VocabularyHead, *, are_words_tied: bool) -> None:
    """Write a head; its words only if they are not those of the graph."""
    arrays: dict[str, Any] = {name: np.asarray(getattr(head, name)) for name in _FIELDS}
    if are_words_tied:
        del arrays["words"]
    np.savez(path, **arrays)


def read_head(path: Path, graph: Path) -> VocabularyHead:
    """Read a head.

    Args:
        path: What ``write_head`` has written.
        graph: The graph beside it, which holds the words if the head has none of its own.

    Raises:
        ModelCorrupt: It is none, or does not belong to the graph.
        StoreUnusable: It cannot be read.
    """
    try:
        with reading(path), path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        if "words" not in found:
            found["words"] = read_initializers(graph).tensors["words"]
        words = np.require(found["words"], np.float32, ("C", "A"))
        head = VocabularyHead(
            words=words,
            activation=str(found["activation"]),
            epsilon=float(found["epsilon"]),
            **{name: np.require(found[name], np.float32) for name in ("inner", "inner_bias", "scale", "shift", "bias")},
        )
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelCorrupt(f"{path} holds no head; import the model again") from error
    _check(head, path)
    return head


def _check(head: VocabularyHead, path: Path) -> None:
    width = head.inner.shape[-1]
    shapes = {head.inner_bias.shape, head.scale.shape, head.shift.shape, head.words.shape[1:]}
    is_whole = head.inner.ndim == 2 and shapes == {(width,)} and head.bias.shape == head.words.shape[:1]  # noqa: PLR2004 - axes
    if not is_whole or head.activation not in ACTIVATIONS:
        raise ModelCorrupt(f"{path} and the graph beside it do not belong together; import the model again")


class VocabularyModel:
    """A model whose masks get words; what comes after the graph is loaded once for all sessions.

    Args:
        graph: The ``.onnx`` file; the head is beside it.
        spelling: The model's tokens.
        load: Loads the graph into a runtime.
    """

    def __init__(self, graph: Path, spelling: Callable[[], Spelling], load: Callable[[], Backend]) -> None:
        self._graph = graph
        self._spelling = spelling
        self._load = load
        self._lock = threading.Lock()
        self._loaded: tuple[VocabularyHead, Spelling] | None = None

    def session(self) -> "VocabularyBackend":
        """Return a backend.

        Raises:
            ModelCorrupt: A file is broken.
            HeadraceError: The runtime cannot load the graph.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = read_head(self._graph.with_name(HEAD), self._graph), self._spelling()
            return VocabularyBackend(self._load(), *self._loaded)


class VocabularyBackend:
    """A backend that looks for words where a batch has masks; at other tokens its outputs are zeros."""

    def __init__(self, backend: Backend, head: VocabularyHead, spelling: Spelling) -> None:
        self._backend = backend
        self._head = head
        self._spelling = spelling
        self._count = min(MOST_WORDS, len(head.words))

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name."""
        return self._find(batch, self._backend.run(batch))

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        """Compute a batch as ``run`` does, and stop where the backend does."""
        return self._find(batch, (yield from self._backend.steps(batch, bell)))

    def close(self) -> None:
        """Release the model."""
        self._backend.close()

    def _find(self, batch: TokenBatch, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        places = np.nonzero(batch.input_ids == self._spelling.mask)
        states = self._head.transform(np.asarray(arrays[STATES])[places])
        ids, shares = self._head.choose(states, self._count)
        found: dict[str, NDArray[Any]] = {STATES: states, SCORES: shares, WORDS: self._spelling.spell(ids)}
        return {name: _scatter(values, places, batch.input_ids.shape) for name, values in found.items()}


def _scatter(values: NDArray[Any], places: tuple[NDArray[np.intp], ...], shape: tuple[int, ...]) -> NDArray[Any]:
    spread = np.zeros((*shape, *values.shape[1:]), values.dtype)
    spread[places] = values
    return spread
