"""``headrace optimize``: make variants of a model, measure each beside float32, keep those that lose nothing.

Every variant answers through the service, as it would be served: tokenized, batched, computed in a process of its own.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import HeadraceError, SourceUnsupported
from headrace.export.importer import REPORTS
from headrace.export.needs import BUILDING, require
from headrace.library import Model
from headrace.machine import read_machine
from headrace.models.disk import writing
from headrace.models.folder import ModelFolder
from headrace.models.manifest import Comparison, VariantReport
from headrace.models.sources.base import Progress
from headrace.models.store import LocalStore, StoredModel
from headrace.optimize.page import render_page
from headrace.optimize.publish import make_version, publish_variant
from headrace.optimize.questions import Questions
from headrace.optimize.samples import carried_questions, read_questions
from headrace.optimize.variants import Variant, list_variants, weigh

if TYPE_CHECKING:
    from headrace.optimize.quantize import Pieces

_TIMED: Final = 256  # texts of a turn
_CALIBRATED: Final = 256
MODELS: Final = "models"  # of a home
_LEAST_INDEPENDENCE: Final = 0.999999  # rounding, which differs by batch in some runtimes, gives 0.9999999


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeRequest:
    """What is compared.

    Attributes:
        name: Of the model.
        home: Where the store is.
        data: Texts, perhaps with what is true of them; without it, those that the model carries.
        columns: Of the data, by role.
        least_agreement: With the answers in float32, where the truth is not known.
        most_lost: Share of the task's figure, where it is known.
        rounds: Turns that a variant and float32 take.
    """

    name: str
    home: Path
    data: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    least_agreement: float = 0.99
    most_lost: float = 0.005
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Optimized:
    """What came of it.

    Attributes:
        page: The comparison for people.
        stored: The versions that were made and let in, by variant.
        findings: What was noticed in the data.
    """

    comparison: Comparison
    page: Path
    stored: Mapping[str, StoredModel]
    findings: Sequence[str]


def optimize_model(request: OptimizeRequest, store: LocalStore, progress: Progress) -> Optimized:
    """Measure every variant of a model, and register those graphs that were made and pass.

    Raises:
        ModelUnknown: There is no such model.
        SourceUnsupported: It is quantized already.
        TrainingError: The data cannot be read, or do not fit the model.
        TaskUnsupported: Models of this task are not compared.
        DependencyMissing: The extra ``import`` is not installed.
    """
    require(BUILDING, "import")
    folder = store.open(request.name)
    if folder.manifest.precision != "fp32":
        raise SourceUnsupported(
            f"{request.name!r} is in {folder.manifest.precision} already; optimize the model that it was made of",
            field="model",
        )
    asked, findings = _read(request, folder)
    with store.draft() as scratch:  # removed whatever happens, and if nothing can happen any more, by the next draft
        bench = _Bench(request, folder, asked, scratch, progress)
        comparison = bench.compare()
        with progress.step("Registering what passed"):
            page = _write_page(request, comparison)
            stored = {
                report.name: publish_variant(bench.made[report.name], comparison, report.name, store)
                for report in comparison.variants
                if report.passed and report.name in bench.made
            }
    return Optimized(comparison, page, stored, findings)


def _read(request: OptimizeRequest, folder: ModelFolder) -> tuple[Questions, Sequence[str]]:
    if request.data is not None:
        return read_questions(request.data, request.columns, folder.manifest)
    return carried_questions(folder), [
        "without --data: the texts that the model carries are asked, and answers compared with those in float32"
    ]


def _write_page(request: OptimizeRequest, comparison: Comparison) -> Path:
    path = request.home / REPORTS / f"{request.name}-{comparison.of_revision[:12]}-precisions.html"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_page(request.name, comparison), encoding="utf-8")
    return path


class _Bench:
    """Measures variants in turn beside the exact one, which stays loaded."""

    def __init__(
        self, request: OptimizeRequest, folder: ModelFolder, asked: Questions, scratch: Path, progress: Progress
    ) -> None:
        self._request = request
        self._folder = folder
        self._asked = asked
        self._scratch = scratch
        self._progress = progress
        self._machine = read_machine()
        self._speeds: list[float] = []  # of the exact one
        self.made: dict[str, ModelFolder] = {}

    def compare(self) -> Comparison:
        """Measure all variants."""
        first, *others = list_variants(self._machine)
        with self._load(first) as model:
            with self._progress.step(f"Asking {first.name}"):
                answers = self._asked.ask(model)
            exact = _Exact(model, answers, self._asked.score(answers) if self._asked.metric else None)
            reports = [self._measure(variant, exact) for variant in others]
        own = VariantReport(
            name=first.name,
            size_bytes=weigh(self._folder.graph, first.precision),
            texts_per_s=round(statistics.median(self._speeds), 1),
            speedup=1.0,
            agreement=1.0,
            score=exact.score,
            passed=True,
            verdict="what the others are measured beside",
        )
        return Comparison(
            of_revision=self._folder.manifest.revision,
            texts=len(self._asked),
            agreement=self._asked.agreement,
            metric=self._asked.metric,
            least_agreement=self._request.least_agreement,
            most_lost=self._request.most_lost,
            cpu_model=self._machine.cpu_model,
            threads=self._machine.threads,
            variants=(own, *reports),
        )

    def _measure(self, variant: Variant, exact: "_Exact") -> VariantReport:
        with self._progress.step(f"Asking {variant.name}"):
            try:
                independence = self._make(variant)
                with self._load(variant) as model:
                    answers = self._asked.ask(model)
                    speed, ratio = self._race(exact.model, model)
            except HeadraceError as error:  # what does not run here is none to choose
                return _failed(variant, f"does not run here: {error.message}")
        score = self._asked.score(answers) if self._asked.metric else None
        agreement = self._asked.agree(exact.answers, answers)
        fault = self._find_fault(independence, agreement, score, exact.score)
        folder = self.made.get(variant.name, self._folder)
        return VariantReport(
            name=variant.name,
            size_bytes=weigh(folder.graph, variant.precision),
            texts_per_s=round(speed, 1),
            speedup=round(ratio, 3),
            agreement=round(agreement, 6),
            score=score,
            passed=fault is None,
            verdict=fault or "passed",
        )

    def _find_fault(
        self, independence: float, agreement: float, score: float | None, exact: float | None
    ) -> str | None:
        """Return why a variant is refused, nothing if it is not."""
        if independence < _LEAST_INDEPENDENCE:
            return f"refused: what it answers depends on the texts beside it (a cosine of {independence:.6f})"
        if score is not None and exact is not None:
            lost = (exact - score) / exact if exact else 0.0
            if lost > self._request.most_lost:
                return (
                    f"refused: it loses {lost:.2%} of {self._asked.metric}, and may lose {self._request.most_lost:.2%}"
                )
        elif agreement < self._request.least_agreement:
            return (
                f"refused: {self._asked.agreement} is {agreement:.4f}, and must be {self._request.least_agreement:.4f}"
            )
        return None

    def _make(self, variant: Variant) -> float:
        """Make a variant's graph if it has one of its own; returns how little its answers depend on each other."""
        if variant.method is None:
            return 1.0
        from headrace.optimize.quantize import measure_independence, quantize  # noqa: PLC0415 - loads onnx

        pieces = self._pieces
        graph = self._scratch / f"{variant.method}.onnx"
        quantize(variant.method, self._folder, pieces, graph)
        self.made[variant.name] = make_version(self._folder, graph, LocalStore(self._home_of(variant) / MODELS))
        return measure_independence(graph, pieces, self._machine.threads)

    @cached_property
    def _pieces(self) -> "Pieces":
        """What scales are found with, and independence is measured by."""
        from headrace.optimize.quantize import cut_pieces  # noqa: PLC0415 - loads onnx

        return cut_pieces(self._folder, self._asked.first(_CALIBRATED).texts)

    def _home_of(self, variant: Variant) -> Path:
        return self._request.home if variant.method is None else self._scratch / variant.method

    def _load(self, variant: Variant) -> Model:
        """Load a variant as it would be served, but without the memory of answers."""
        engine = {"runtime": variant.runtime, "precision": variant.precision, "tune": False, "isolation": "process"}
        settings = {f"engine.{key}": value for key, value in engine.items()}
        home = str(self._home_of(variant))
        return Model(self._request.name, {"store.home": home, "cache.max_bytes": 0, **settings})

    def _race(self, exact: Model, other: Model) -> tuple[float, float]:
        """Let both take turns at the same texts; returns the other's texts a second, and its speed beside the exact."""
        asked = self._asked.first(_TIMED)
        speeds, ratios = [], []
        for _ in range(self._request.rounds):
            own, others = _time(asked, exact), _time(asked, other)
            self._speeds.append(own)
            speeds.append(others)
            ratios.append(others / own)
        return statistics.median(speeds), statistics.median(ratios)


@dataclass(frozen=True, slots=True)
class _Exact:
    """The model in float32, and what it answered."""

    model: Model
    answers: Any
    score: float | None


def _time(asked: Questions, model: Model) -> float:
    """Return texts a second."""
    started = time.monotonic()
    asked.ask(model)
    return len(asked.texts) / (time.monotonic() - started)


def _failed(variant: Variant, verdict: str) -> VariantReport:
    return VariantReport(
        name=variant.name,
        size_bytes=0,
        texts_per_s=0.0,
        speedup=0.0,
        agreement=0.0,
        score=None,
        passed=False,
        verdict=verdict,
    )
