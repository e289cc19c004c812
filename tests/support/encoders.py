"""Encoders of random weights, as small as the native kernels take them."""

from pathlib import Path

import numpy as np

from headrace.export.architecture import Activation, Encoder, Layer, Linear, Norm
from headrace.export.builder import build_graph
from headrace.models.manifest import Pooling


def random_encoder(  # noqa: PLR0913 - each test changes one of them
    *,
    vocabulary: int = 60,
    window: int = 80,
    hidden: int = 64,
    heads: int = 2,
    inner: int = 128,
    layers: int = 2,
    activation: Activation = "gelu",
    has_bias: bool = False,
    words: int | None = None,
) -> Encoder:
    """Return an encoder; ``words`` is the width of its embeddings, if that is another than ``hidden``."""
    chooser = np.random.default_rng(7)

    def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (chooser.normal(size=shape) * scale).astype(np.float32)

    def linear(rows: int, columns: int) -> Linear:
        return Linear(weight=numbers(rows, columns, scale=1.5 / rows**0.5), bias=numbers(columns, scale=0.1))

    def norm(width: int) -> Norm:
        return Norm(scale=1 + numbers(width, scale=0.1), shift=numbers(width, scale=0.1))

    def layer() -> Layer:
        return Layer(
            query=linear(hidden, hidden),
            key=linear(hidden, hidden),
            value=linear(hidden, hidden),
            output=linear(hidden, hidden),
            attention_norm=norm(hidden),
            inner=linear(hidden, inner),
            outer=linear(inner, hidden),
            outer_norm=norm(hidden),
        )

    width = words or hidden
    return Encoder(
        words=numbers(vocabulary, width),
        positions=numbers(window, width),
        embedding_norm=norm(width),
        projection=linear(width, hidden) if words else None,
        layers=tuple(layer() for _ in range(layers)),
        heads=heads,
        epsilon=1e-12,
        activation=activation,
        attention_bias=numbers(1, heads, window, window) if has_bias else None,
    )


def write_encoder(path: Path, encoder: Encoder, pooling: Pooling = "mean") -> Path:
    """Write the graph of an encoder."""
    path.write_bytes(build_graph(encoder, pooling).SerializeToString())
    return path
