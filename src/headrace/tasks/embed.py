"""``embed``: a text becomes a vector."""

import struct
from typing import Final

import numpy as np

from headrace.tasks.base import Task
from headrace.types import Arrays, Embedding, Options

_HEADER: Final = struct.Struct("<I?3x")  # tokens, truncated; 8 bytes, so that the numbers after it are aligned


def finish(arrays: Arrays, tokens: int, truncated: bool, options: Options) -> Embedding:
    """Return the embedding of one text.

    The graph gives ``embedding`` of length 1, shape ``(d,)``, and ``norm``, its length before that, shape
    ``()``; the product is the vector as the model pooled it.
    """
    unit = np.asarray(arrays["embedding"], dtype=np.float32)
    values = unit if options.normalize else unit * np.float32(arrays["norm"])
    return Embedding(values=values, tokens=tokens, truncated=truncated)


def pack(embedding: Embedding) -> bytes:
    """Turn an embedding into bytes: header, then little-endian float32."""
    return _HEADER.pack(embedding.tokens, embedding.truncated) + embedding.values.astype("<f4").tobytes()


def unpack(data: bytes) -> Embedding:
    """Turn the bytes of ``pack`` back into the embedding."""
    tokens, truncated = _HEADER.unpack_from(data)
    return Embedding(values=np.frombuffer(data, "<f4", offset=_HEADER.size), tokens=tokens, truncated=truncated)


TASK: Final = Task(name="embed", finish=finish, pack=pack, unpack=unpack)
