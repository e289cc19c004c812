"""What this machine can do at most, at the shapes of the model: matrix products and memory.

The limit in tokens a second is what a model would reach that does its linear layers at this speed and all else
(attention, softmax, layer norm, GELU, tokenizing) in no time. Nothing reaches it at the same precision.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.workers.loop import answer_commands

_WARM_UP = 3
_AT_LEAST_S = 0.5  # per shape; shorter than that the clock's and the scheduler's grain shows
_COPY_BYTES = 256 << 20  # several times any last-level cache


def _seconds(work: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        work()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < _AT_LEAST_S:
        work()
        count += 1
    return (time.perf_counter() - started) / count


class Limits:
    """The products of one layer: four of h by h (query, key, value, output), h by i and i by h."""

    def __init__(self, hidden: int, inner: int, layers: int) -> None:
        self._layers = layers
        self._shapes = [(hidden, hidden, 4), (hidden, inner, 1), (inner, hidden, 1)]

    def _tokens_per_s(self, rows: int, make: Callable[[int, int, int], Callable[[], object]]) -> dict[str, Any]:
        layer_s = sum(times * _seconds(make(rows, deep, wide)) for deep, wide, times in self._shapes)
        flop = sum(2 * rows * deep * wide * times for deep, wide, times in self._shapes)
        return {"tokens_per_s": rows / (layer_s * self._layers), "gflop_per_s": flop / layer_s / 1e9}

    def fp32(self, rows: int) -> dict[str, Any]:
        """Measure fp32 through PyTorch."""
        return self._torch(rows, torch.float32)

    def bf16(self, rows: int) -> dict[str, Any]:
        """Measure bf16 through PyTorch (oneDNN)."""
        return self._torch(rows, torch.bfloat16)

    def int8(self, rows: int) -> dict[str, Any]:
        """Measure int8 into int32 through PyTorch (oneDNN), without the conversions that a model would need."""

        def make(rows: int, deep: int, wide: int) -> Callable[[], object]:
            left = torch.randint(-128, 127, (rows, deep), dtype=torch.int8)
            right = torch.randint(-128, 127, (deep, wide), dtype=torch.int8)
            return lambda: torch._int_mm(left, right)  # noqa: SLF001 - PyTorch has no public name for it

        return self._tokens_per_s(rows, make)

    def numpy_fp32(self, rows: int) -> dict[str, Any]:
        """Measure fp32 through NumPy (OpenBLAS), as a second opinion."""

        def make(rows: int, deep: int, wide: int) -> Callable[[], object]:
            chooser = np.random.default_rng(0)
            left = chooser.random((rows, deep), dtype=np.float32)
            right = chooser.random((deep, wide), dtype=np.float32)
            return lambda: left @ right

        return self._tokens_per_s(rows, make)

    def copy(self) -> dict[str, Any]:
        """Measure the memory: bytes read and written by copying a large array on all threads."""
        source, target = torch.ones(_COPY_BYTES // 4), torch.zeros(_COPY_BYTES // 4)
        return {"gb_per_s": 2 * _COPY_BYTES / _seconds(lambda: target.copy_(source)) / 1e9}

    def _torch(self, rows: int, dtype: torch.dtype) -> dict[str, Any]:
        def make(rows: int, deep: int, wide: int) -> Callable[[], object]:
            left, weights = torch.randn(rows, deep, dtype=dtype), torch.randn(wide, deep, dtype=dtype)
            return lambda: torch.nn.functional.linear(left, weights)

        return self._tokens_per_s(rows, make)


def main() -> None:
    """Answer commands."""
    parser = argparse.ArgumentParser()
    for name in ("threads", "hidden", "inner", "layers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.set_grad_enabled(mode=False)
    limits = Limits(asked.hidden, asked.inner, asked.layers)
    answer_commands(
        {
            "fp32": limits.fp32,
            "bf16": limits.bf16,
            "int8": limits.int8,
            "numpy_fp32": limits.numpy_fp32,
            "copy": limits.copy,
        }
    )


if __name__ == "__main__":
    main()
