"""Ways to compute a model: its own graph in each precision of this machine, and graphs with 8-bit integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from headrace.engine.initializers import read_initializers
from headrace.engine.plan import Precision, Runtime, installed_runtimes, precisions
from headrace.machine import Machine

Method = Literal["int8-blocks", "int8-dynamic", "int8-static"]
"""How a graph is quantized: with a scale for each block of 32 numbers, with one for a whole batch, or by scales that
were found beforehand."""

_BYTES: Final[Mapping[Precision, float]] = {"fp32": 4, "int16": 2, "bf16": 2, "int8": 1}
_MATRIX: Final = 2  # axes
_TABLES: Final = frozenset({"words", "positions"})  # are looked up, not multiplied, and stay as they are


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute a model.

    Attributes:
        precision: What the runtime computes in; a quantized graph says itself what it computes in.
        method: How the graph was quantized; nothing for the model's own graph.
    """

    runtime: Runtime
    precision: Precision = "fp32"
    method: Method | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.runtime} {self.method or self.precision}"


EXACT: Final = Variant("onnxruntime")
"""What the others are measured beside: the model's own graph, in float32, on the runtime that is always there."""


def list_variants(machine: Machine) -> list[Variant]:
    """Return what can be tried on a machine, the exact one first."""
    own = [Variant(runtime, each) for runtime in installed_runtimes() for each in precisions(runtime, machine)]
    made: Sequence[Method] = get_args(Method)
    return [EXACT, *(one for one in own if one != EXACT), *(Variant("onnxruntime", method=each) for each in made)]


def weigh(graph: Path, precision: Precision) -> int:
    """Return the bytes of a graph whose matrices a runtime multiplies in a precision.

    Raises:
        ModelCorrupt: It is no ONNX file.
        StoreUnusable: It cannot be read.
    """
    tensors = read_initializers(graph).tensors
    multiplied = sum(each.nbytes for name, each in tensors.items() if each.ndim == _MATRIX and name not in _TABLES)
    return round(graph.stat().st_size - multiplied * (1 - _BYTES[precision] / _BYTES["fp32"]))
