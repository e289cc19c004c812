"""The accuracy gate: the original model against the exported graph, through the engine that serves.

The original embeds the texts one at a time; the engine gets them all as one job, so that tokenizing, truncating,
sorting by length, padding, the runtime and the graph are all compared at once. Measured for all-MiniLM-L6-v2 in
float32: a cosine of 0.9999999 at least, and a largest difference of 6e-7.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import Engine, Job, Output
from headrace.errors import GateFailed, HeadraceError
from headrace.export.probes import Probe
from headrace.models.manifest import GateOutput, GateReport
from headrace.types import Arrays

Embed = Callable[[str], Arrays]

_TIMEOUT_S: Final = 600.0
_TINY: Final = 1e-30  # keeps a norm of 0 from dividing by it
_WORST_COSINE: Final = -1.0
_WORST_DIFFERENCE: Final = 2.0  # between vectors of length 1 nothing is further apart


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What the exported graph must keep to.

    Attributes:
        min_cosine: Between the original's and the graph's output, for every text and output.
        max_difference: Largest difference of one number; of ``norm`` relative to the original's.
    """

    min_cosine: float = 0.9999  # float32 gives 0.9999999; a wrong mask, pooling or window gives 0.99 and less
    max_difference: float = 1e-3


@dataclass(frozen=True, slots=True)
class _Distance:
    cosine: float
    difference: float


async def run_gate(embed: Embed, engine: Engine, probes: Sequence[Probe], limits: GateLimits) -> GateReport:
    """Compare an engine with the original model.

    The engine is started and closed here. An engine's error counts as the worst answer there is.

    Args:
        embed: The original: a text in, ``embedding`` and ``norm`` out.
        engine: The graph as it will be served.
        probes: The texts.
        limits: What decides.
    """
    try:
        await engine.start()
        texts = tuple(probe.text for probe in probes)
        job = Job(texts=texts, truncate="truncate", deadline=time.monotonic() + _TIMEOUT_S)
        result = await engine.run(job)
    finally:
        await engine.aclose()
    expected = [embed(text) for text in texts]
    return compare([probe.label for probe in probes], expected, result.items, limits)


def compare(
    labels: Sequence[str],
    expected: Sequence[Arrays],
    found: Sequence[Output | HeadraceError],
    limits: GateLimits,
) -> GateReport:
    """Measure how far each output of each text is from the original's, and decide."""
    distances = {
        name: [_measure(name, wanted[name], item) for wanted, item in zip(expected, found, strict=True)]
        for name in expected[0]
    }
    outputs = tuple(_summarise(name, of_output) for name, of_output in distances.items())
    worst = max(range(len(labels)), key=lambda index: max(row[index].difference for row in distances.values()))
    return GateReport(
        passed=all(_is_within(output, limits) for output in outputs),
        texts=len(labels),
        min_cosine_required=limits.min_cosine,
        max_difference_allowed=limits.max_difference,
        outputs=outputs,
        worst_text=labels[worst],
    )


def require_passed(report: GateReport, name: str, folder: Path) -> None:
    """Let a model pass, or write down why not.

    Args:
        report: The gate's verdict.
        name: The model's name.
        folder: Where reports of refused models are kept.

    Raises:
        GateFailed: The model did not pass; the message names the report's file.
    """
    if report.passed:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.json"
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    worst = min(report.outputs, key=lambda output: output.min_cosine)
    difference = max(output.max_difference for output in report.outputs)
    raise GateFailed(
        f"{name!r} was not imported: the exported graph's {worst.name} has a cosine of {worst.min_cosine:.6f} with the"
        f" original's ({report.min_cosine_required} is required) and a difference of {difference:.2g}"
        f" ({report.max_difference_allowed} is allowed), most for {report.worst_text!r}; see {path}"
    )


def _measure(name: str, expected: NDArray[np.float32], found: Output | HeadraceError) -> _Distance:
    if isinstance(found, HeadraceError):
        return _Distance(_WORST_COSINE, _WORST_DIFFERENCE)
    wanted = np.asarray(expected, dtype=np.float64).ravel()
    given = np.asarray(found.arrays[name], dtype=np.float64).ravel()
    if wanted.shape != given.shape or not np.isfinite(wanted).all() or not np.isfinite(given).all():
        return _Distance(_WORST_COSINE, _WORST_DIFFERENCE)
    difference = float(np.abs(wanted - given).max())
    if name == "norm":
        difference /= max(float(np.abs(wanted).max()), _TINY)
    return _Distance(_cosine(wanted, given), difference)


def _cosine(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the cosine of two vectors; two vectors of zeros agree."""
    lengths = math.sqrt(float(left @ left) * float(right @ right))
    if lengths == 0:
        return 1.0 if np.array_equal(left, right) else 0.0
    return float(left @ right) / lengths


def _summarise(name: str, distances: Sequence[_Distance]) -> GateOutput:
    cosines = [distance.cosine for distance in distances]
    return GateOutput(
        name=name,
        min_cosine=min(cosines),
        mean_cosine=sum(cosines) / len(cosines),
        max_difference=max(distance.difference for distance in distances),
    )


def _is_within(output: GateOutput, limits: GateLimits) -> bool:
    return output.min_cosine >= limits.min_cosine and output.max_difference <= limits.max_difference
