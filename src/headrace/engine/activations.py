"""Activations in NumPy, for what is small beside the layers: heads, and the original that a graph is compared with."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.types import FloatArray

# NumPy has no error function. Between the points of a table it is a cubic Hermite polynomial, since its slope is known
# exactly; the error is under 1e-11.
_ERF_STEPS: Final = 256  # a unit
_ERF_END: Final = 6.0  # from here on it is 1 in float64
_ERF_AT: Final = np.arange(-_ERF_END, _ERF_END + 2 / _ERF_STEPS, 1 / _ERF_STEPS)
_ERF: Final = np.array([math.erf(x) for x in _ERF_AT])
_ERF_SLOPE: Final = 2 / math.sqrt(math.pi) * np.exp(-(_ERF_AT**2)) / _ERF_STEPS


def relu(values: FloatArray) -> FloatArray:
    """Return each value, and 0 for a negative one."""
    return np.maximum(values, 0)


def gelu(values: FloatArray) -> FloatArray:
    """Return each value times the share of a normal distribution below it."""
    wide = values.astype(np.float64)
    return np.asarray(0.5 * wide * (1 + erf(wide / math.sqrt(2))), dtype=np.float32)


def gelu_tanh(values: FloatArray) -> FloatArray:
    """Return ``gelu`` as it is approximated with tanh (https://arxiv.org/abs/1606.08415, 2)."""
    wide = values.astype(np.float64)
    share = 1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    return np.asarray(0.5 * wide * share, dtype=np.float32)


def tanh(values: FloatArray) -> FloatArray:
    """Return the hyperbolic tangent of each value."""
    return np.tanh(values)


ACTIVATIONS: Final[Mapping[str, Callable[[FloatArray], FloatArray]]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": relu,
    "tanh": tanh,
}
"""By the names that a model's architecture has for them."""


def erf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error function of each value."""
    place = (np.clip(values, -_ERF_END, _ERF_END) + _ERF_END) * _ERF_STEPS
    left = place.astype(np.int64)
    t = place - left
    rest = 1 - t
    at_left = rest * rest * ((1 + 2 * t) * _ERF[left] + t * _ERF_SLOPE[left])
    at_right = t * t * ((3 - 2 * t) * _ERF[left + 1] - rest * _ERF_SLOPE[left + 1])
    return np.asarray(at_left + at_right)
