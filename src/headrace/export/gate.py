"""The accuracy gate: the original model against the exported graph, through the engine that serves.

The original embeds the texts one at a time; the engine gets them all as one job, so that tokenizing, truncating,
sorting by length, padding, the runtime and the graph are all compared at once. Measured for all-MiniLM-L6-v2 in
float32: a cosine of 0.9999999 at least, and a largest difference of 6e-7.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headrace.engine.agreement import Distance, Reference, measure
from headrace.engine.base import Engine, Job, Output
from headrace.errors import GateFailed, HeadraceError
from headrace.models.manifest import GateOutput, GateReport
from headrace.types import Arrays

_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What the exported graph must keep to.

    Attributes:
        min_cosine: Between the original's and the graph's output, for every text and output.
        max_difference: Largest difference of one number; of ``norm`` relative to the original's.
    """

    min_cosine: float = 0.9999  # float32 gives 0.9999999; a wrong mask, pooling or window gives 0.99 and less
    max_difference: float = 1e-3


async def run_gate(reference: Reference, engine: Engine, labels: Sequence[str], limits: GateLimits) -> GateReport:
    """Compare an engine with the original model.

    The engine is started and closed here. An engine's error counts as the worst answer there is.

    Args:
        reference: The texts, and what the original gave for them.
        engine: The graph as it will be served.
        labels: What the report calls the texts.
        limits: What decides.
    """
    try:
        await engine.start()
        job = Job(texts=reference.texts, truncate="truncate", deadline=time.monotonic() + _TIMEOUT_S)
        result = await engine.run(job)
    finally:
        await engine.aclose()
    return compare(labels, reference.arrays, result.items, limits)


def compare(
    labels: Sequence[str],
    expected: Sequence[Arrays],
    found: Sequence[Output | HeadraceError],
    limits: GateLimits,
) -> GateReport:
    """Measure how far each output of each text is from the original's, and decide."""
    distances = measure(expected, found)
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


def _summarise(name: str, distances: Sequence[Distance]) -> GateOutput:
    cosines = [distance.cosine for distance in distances]
    return GateOutput(
        name=name,
        min_cosine=min(cosines),
        mean_cosine=sum(cosines) / len(cosines),
        max_difference=max(distance.difference for distance in distances),
    )


def _is_within(output: GateOutput, limits: GateLimits) -> bool:
    return output.min_cosine >= limits.min_cosine and output.max_difference <= limits.max_difference
