"""Activations in NumPy beside those of PyTorch and the standard library."""

import math

import numpy as np
import pytest
import torch

from headrace.engine.activations import ACTIVATIONS, erf

ORIGINALS = {
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda values: torch.nn.functional.gelu(values, approximate="tanh"),
    "relu": torch.relu,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_pytorch(name: str):
    values = np.random.default_rng(0).normal(0, 3, (50, 20)).astype(np.float32)
    found = ACTIVATIONS[name](values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ORIGINALS[name](torch.from_numpy(values)).numpy(), atol=1e-6)


def test_the_error_function_is_that_of_the_standard_library():
    values = np.random.default_rng(0).uniform(-8, 8, 10_000)
    values[:7] = [0.0, -0.0, 6.0, -6.0, 1e300, -1e300, 5.99999]
    expected = np.array([math.erf(value) for value in values])
    np.testing.assert_allclose(erf(values), expected, atol=1e-11)
