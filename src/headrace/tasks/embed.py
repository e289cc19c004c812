"""``embed``: a text becomes a vector."""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from headrace.tasks.base import Task
from headrace.types import Embedding, FloatArray, Options, Traits, Window

# Tokens, windows, truncated; 12 bytes, so that the numbers after it are aligned.
_HEADER: Final = struct.Struct("<II?3x")
_TINY: Final = 1e-12  # keeps windows that cancel each other out from dividing by 0


def finish(_text: str, windows: Sequence[Window], truncated: bool, options: Options, traits: Traits) -> Embedding:  # noqa: ARG001 - as every task
    """Return the embedding of one text.

    For each window the graph gives ``embedding`` of length 1, shape ``(d,)``, and ``norm``, its length before that,
    shape ``()``; the product is the vector as the model pooled it.
    """
    return Embedding(
        values=_merge(windows, options) if len(windows) > 1 else _pick(windows[0], options),
        tokens=sum(window.tokens for window in windows),
        truncated=truncated,
        windows=len(windows),
    )


def _pick(window: Window, options: Options) -> FloatArray:
    unit = np.asarray(window.arrays["embedding"], dtype=np.float32)
    return unit if options.normalize else unit * np.float32(window.arrays["norm"])


def _merge(windows: Sequence[Window], options: Options) -> FloatArray:
    """Return the mean of the windows' vectors, each as long as the model made it and weighted by its tokens.

    For a model that pools by the mean that is about the mean over all tokens of the text; what two windows share
    counts once. Scaling comes last: the shorter vector of a window without a clear subject shall count for less.
    """
    vectors = [np.asarray(window.arrays["embedding"], dtype=np.float64) * window.arrays["norm"] for window in windows]
    mean = np.average(vectors, axis=0, weights=[window.weight for window in windows])
    values = mean / max(float(np.linalg.norm(mean)), _TINY) if options.normalize else mean
    return values.astype(np.float32)


def pack(embedding: Embedding) -> bytes:
    """Turn an embedding into bytes: header, then little-endian float32."""
    header = _HEADER.pack(embedding.tokens, embedding.windows, embedding.truncated)
    return header + embedding.values.astype("<f4").tobytes()


def unpack(data: bytes) -> Embedding:
    """Turn the bytes of ``pack`` back into the embedding."""
    tokens, windows, truncated = _HEADER.unpack_from(data)
    values = np.frombuffer(data, "<f4", offset=_HEADER.size)
    return Embedding(values=values, tokens=tokens, truncated=truncated, windows=windows)


def spell(result: Embedding) -> dict[str, Any]:
    """Return the fields of an embedding."""
    return {"embedding": result.values}


TASK: Final = Task(name="embed", model="embed", finish=finish, pack=pack, unpack=unpack, spell=spell)
