"""Our own kernels for encoders: products in the numbers that the CPU is fastest with, and no work for padding.

Processors with AVX-512 multiply bfloat16 and 8-bit integers, others float32 and integers of some 12 bits. The libraries
are built from ``headrace/native`` when the package is built. It takes the weights of a graph that
``export/builder.py`` has made, and computes what the graph says without looking at it.
"""

import ctypes
import json
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.activations import ACTIVATIONS
from headrace.engine.base import Bell, IntArray, Steps, TokenBatch, complete
from headrace.engine.initializers import ENCODER, Initializers, read_initializers
from headrace.engine.plan import Precision, native_library
from headrace.errors import EngineFailed, ModelCorrupt, RuntimeUnfit
from headrace.types import FloatArray

_ACTIVATIONS: Final = ("gelu", "gelu_tanh", "relu")
_POOLINGS: Final = ("mean", "cls", "max", "none", "lasttoken")
_LAYER: Final = (
    *("query.weight", "query.bias", "key.weight", "key.bias", "value.weight", "value.bias"),
    *("output.weight", "output.bias", "attention_norm.scale", "attention_norm.shift"),
    *("inner.weight", "inner.bias", "outer.weight", "outer.bias", "outer_norm.scale", "outer_norm.shift"),
)
_INTEGERS: Final[frozenset[Precision]] = frozenset({"int8", "int16"})
_HEAD_MULTIPLE: Final = 32
_WIDTH_MULTIPLE: Final = 64
_OUT_OF_BOUNDS: Final = -2


class _Shape(ctypes.Structure):
    """``encoder_shape`` of ``native/encoder.h``."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "heads", "inner", "layers", "vocabulary", "window")),
        *((name, ctypes.c_int32) for name in ("activation", "pooling", "is_integer", "cores")),
        ("epsilon", ctypes.c_float),
    )


class NativeModel:
    """Packed weights, and the threads that help to compute with them; shared by all sessions.

    Args:
        path: The ``.onnx`` file, weights inside.
        threads: Most threads that compute at the same time, those of the sessions included.
        precision: What the linear layers compute in; sums, norms and outputs are float32.
    """

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        self._path = path
        self._threads = threads
        self._precision = precision
        self._lock = threading.Lock()
        self._encoder: _Encoder | None = None

    def session(self) -> "NativeBackend":
        """Return a backend; the weights are packed when the first one is asked for.

        Raises:
            ModelCorrupt: The file is broken.
            RuntimeUnfit: The model is none of those that these kernels compute.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = _Encoder(self._path, self._threads, self._precision)
            return NativeBackend(self._encoder)


class _Encoder:
    """A loaded model; released with the last session."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        self.library = load_library(precision)
        found = read_initializers(path)
        facts = _read_facts(found, path)
        shape = _read_shape(found, facts, path)
        shape.is_integer, shape.cores = precision in _INTEGERS, threads
        tensors = list(_tensors(found, shape))
        # The library copies all but the embeddings' tables and the bias of the scores, which are kept as long as it is.
        self._kept = [tensors[0], tensors[1], tensors[4], tensors[5]]
        pointers = (ctypes.c_void_p * len(tensors))(*[None if one is None else one.ctypes.data for one in tensors])
        self.handle = self.library.encoder_create(ctypes.byref(shape), pointers)
        if not self.handle:
            raise EngineFailed(f"there is no memory or no thread left to load {path}; use fewer sessions or models")
        self.hidden = int(shape.hidden)
        self.is_per_token = _POOLINGS[shape.pooling] == "none"
        self.head = _read_head(found, facts, path)
        weakref.finalize(self, self.library.encoder_destroy, self.handle)


class _Session:
    """What one batch needs to be computed; used by one thread at a time, and released with its last user."""

    def __init__(self, encoder: _Encoder) -> None:
        self._encoder = encoder
        self._handle = encoder.library.session_create(encoder.handle)
        if not self._handle:
            raise EngineFailed("there is no memory left for another session; use fewer sessions or models")
        weakref.finalize(self, encoder.library.session_destroy, self._handle)

    def compute(self, batch: TokenBatch, bell: Bell | None) -> Steps:
        """Compute a batch, and stop after a layer if the bell rings."""
        library = self._encoder.library
        texts, stride = batch.input_ids.shape
        ids = np.ascontiguousarray(batch.input_ids)
        types = None if batch.token_type_ids is None else np.ascontiguousarray(batch.token_type_ids)
        lengths = batch.attention_mask.sum(axis=1)
        rows = int(lengths.sum()) if self._encoder.is_per_token else texts
        states = np.empty((rows, self._encoder.hidden), np.float32)
        norm = np.empty(texts, np.float32)
        status = library.session_begin(
            *(self._handle, ids.ctypes.data, None if types is None else types.ctypes.data),
            *(lengths.ctypes.data, texts, stride),
            *(states.ctypes.data, norm.ctypes.data),
        )
        if status == _OUT_OF_BOUNDS:
            raise EngineFailed("the text has a token that the model has no vector for, or too many; import it again")
        if status:
            raise EngineFailed("there is no memory left for this text; use a smaller token budget")
        while library.session_step(self._handle, None if bell is None else bell.address):
            yield
        return self._finish(states, norm, batch.attention_mask)

    def _finish(self, states: FloatArray, norm: FloatArray, mask: IntArray) -> dict[str, NDArray[Any]]:
        """Return the outputs, made of one vector for each text or token."""
        head = self._encoder.head
        if self._encoder.is_per_token:
            values = states if head is None else head(states)
            padded = np.zeros((*mask.shape, values.shape[1]), np.float32)
            padded[mask == 1] = values
            return {"token_states" if head is None else "token_logits": padded}
        if head is None:
            return {"embedding": states, "norm": norm}
        return {"logits": head(states * norm[:, None])}


class NativeBackend:
    """One caller of a loaded model, who may begin a batch while another one rests between two layers."""

    def __init__(self, encoder: _Encoder) -> None:
        self._encoder: _Encoder | None = encoder
        self._idle = [_Session(encoder)]

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; the first axis of each is the batch."""
        return complete(self._compute(batch, None))

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        """Compute a batch as ``run`` does, and stop after a layer if the bell rings."""
        return self._compute(batch, bell)

    def close(self) -> None:
        """Release what no batch uses, and with the last of it the model."""
        self._encoder = None
        self._idle.clear()

    def _compute(self, batch: TokenBatch, bell: Bell | None) -> Steps:
        if self._encoder is None:
            raise EngineFailed("the model was released")
        session = self._idle.pop() if self._idle else _Session(self._encoder)
        try:
            return (yield from session.compute(batch, bell))
        finally:
            if self._encoder is not None:
                self._idle.append(session)


def load_library(precision: Precision) -> ctypes.CDLL:
    """Load the kernels that compute in a precision, and say what their functions take.

    Raises:
        OSError: The library cannot be loaded.
    """
    library = ctypes.CDLL(str(native_library(precision)))
    pointer = ctypes.c_void_p
    library.encoder_create.argtypes = [ctypes.POINTER(_Shape), ctypes.POINTER(pointer)]
    library.encoder_create.restype = pointer
    library.encoder_destroy.argtypes = [pointer]
    library.encoder_destroy.restype = None
    library.session_create.argtypes = [pointer]
    library.session_create.restype = pointer
    library.session_destroy.argtypes = [pointer]
    library.session_destroy.restype = None
    library.session_begin.argtypes = [*[pointer] * 4, *[ctypes.c_int32] * 2, *[pointer] * 2]
    library.session_begin.restype = ctypes.c_int32
    library.session_step.argtypes = [pointer, pointer]
    library.session_step.restype = ctypes.c_int32
    return library


_Head = Callable[[FloatArray], FloatArray]
"""Makes scores of vectors, ``(n, labels)`` of ``(n, hidden)``; it is small, and NumPy computes it in float32."""


@dataclass(frozen=True, slots=True)
class _LinearHead:
    """What is done with the vectors of tokens."""

    weight: FloatArray
    bias: FloatArray

    def __call__(self, states: FloatArray) -> FloatArray:
        return np.asarray(states @ self.weight + self.bias)


@dataclass(frozen=True, slots=True)
class _TwoLayerHead:
    """What a classifier does with the vectors of its texts."""

    inner: FloatArray
    inner_bias: FloatArray
    activate: Callable[[FloatArray], FloatArray]
    outer: FloatArray
    outer_bias: FloatArray

    def __call__(self, states: FloatArray) -> FloatArray:
        return np.asarray(self.activate(states @ self.inner + self.inner_bias) @ self.outer + self.outer_bias)


def _read_head(found: Initializers, facts: Mapping[str, Any], path: Path) -> _Head | None:
    """Return the model's head, nothing if it has none.

    Raises:
        ModelCorrupt: A weight is missing.
        RuntimeUnfit: It has an activation that is not computed here.
    """
    kind = facts.get("head")
    if kind is None:
        return None
    if kind != "linear" and kind not in ACTIVATIONS:
        raise RuntimeUnfit(f"the native runtime does not compute heads with {kind!r}; use another --runtime")

    def take(name: str) -> FloatArray:
        return np.require(found.tensors[name], np.float32, ("C", "A"))

    try:
        if kind == "linear":
            return _LinearHead(take("head.weight"), take("head.bias"))
        inner, inner_bias = take("head.inner.weight"), take("head.inner.bias")
        outer, outer_bias = take("head.outer.weight"), take("head.outer.bias")
    except KeyError as error:
        raise ModelCorrupt(f"{path} lacks what its note {ENCODER!r} promises; import the model again") from error
    return _TwoLayerHead(inner, inner_bias, ACTIVATIONS[kind], outer, outer_bias)


def _read_facts(found: Initializers, path: Path) -> Mapping[str, Any]:
    note = found.notes.get(ENCODER)
    if note is None:
        raise RuntimeUnfit(
            f"{path} says nothing of an encoder, and the native runtime computes nothing else; use another --runtime,"
            " or import the model again if it is a BERT, RoBERTa, DistilBERT or MPNet"
        )
    try:
        facts = dict(json.loads(note))
    except (ValueError, TypeError) as error:
        raise ModelCorrupt(f"{path} has a note {ENCODER!r} that cannot be read; import the model again") from error
    return facts


def _read_shape(found: Initializers, facts: Mapping[str, Any], path: Path) -> _Shape:
    """Return the model's shape.

    Raises:
        ModelCorrupt: A weight is missing, or has another shape than the others ask for.
        RuntimeUnfit: It is none that the kernels compute.
    """
    tensors = found.tensors
    try:
        (vocabulary, hidden), (_, window, _), (_, inner) = (
            tensors[name].shape for name in ("words", "positions", "layers.0.inner.weight")
        )
        shape = _Shape(
            hidden=hidden,
            heads=facts["heads"],
            inner=inner,
            layers=facts["layers"],
            vocabulary=vocabulary,
            window=window,
            activation=_ACTIVATIONS.index(facts["activation"]),
            pooling=_POOLINGS.index(facts["pooling"]),
            epsilon=facts["epsilon"],
        )
        is_known = _is_computed(shape) and "projection.weight" not in tensors
        if is_known:
            _check_shapes(found, shape)
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise ModelCorrupt(f"{path} lacks what its note {ENCODER!r} promises; import the model again") from error
    if not is_known:
        raise RuntimeUnfit(
            f"the native runtime computes layers of a multiple of {_WIDTH_MULTIPLE} in heads of a multiple of"
            f" {_HEAD_MULTIPLE}, and this model has {hidden} and {inner} in {shape.heads} heads, or words of another"
            " width; use another --runtime"
        )
    return shape


def _is_computed(shape: _Shape) -> bool:
    has_heads = shape.heads > 0 and shape.hidden % (shape.heads * _HEAD_MULTIPLE) == 0
    return bool(has_heads and shape.hidden % _WIDTH_MULTIPLE == 0 and shape.inner % _WIDTH_MULTIPLE == 0)


def _check_shapes(found: Initializers, shape: _Shape) -> None:
    for name, wanted in _expected_shapes(shape, found.tensors.keys()):
        if found.tensors[name].shape != wanted:
            raise ValueError(f"{name!r} has the shape {found.tensors[name].shape} instead of {wanted}")


def _expected_shapes(shape: _Shape, names: Collection[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner, window = shape.hidden, shape.inner, shape.window
    yield "words", (shape.vocabulary, hidden)
    yield "positions", (1, window, hidden)
    yield "embedding_norm.scale", (hidden,)
    yield "embedding_norm.shift", (hidden,)
    if "segment" in names:
        yield "segment", (hidden,)
    if "attention_bias" in names:
        yield "attention_bias", (1, shape.heads, window, window)
    sizes = {"query": (hidden, hidden), "key": (hidden, hidden), "value": (hidden, hidden), "output": (hidden, hidden)}
    sizes |= {"inner": (hidden, inner), "outer": (inner, hidden)}
    for layer in range(shape.layers):
        for part in _LAYER:
            name, kind = part.split(".")
            yield f"layers.{layer}.{part}", sizes[name] if kind == "weight" else sizes.get(name, (hidden, hidden))[1:]


def _tensors(found: Initializers, shape: _Shape) -> Iterator[FloatArray | None]:
    """Yield the weights in the order of ``encoder_create``.

    The words stay where they are in the mapped file: they are the largest, and of a text only a few rows are read.
    """
    tensors = found.tensors
    yield tensors["words"]
    for name in ("positions", "embedding_norm.scale", "embedding_norm.shift", "attention_bias", "segment"):
        yield np.require(tensors[name], np.float32, ("C", "A")) if name in tensors else None
    for layer in range(shape.layers):
        for part in _LAYER:
            yield np.require(tensors[f"layers.{layer}.{part}"], np.float32, ("C", "A"))
