import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.engine.agreement import Reference
from headrace.engine.base import Job, JobResult, Output
from headrace.errors import EngineFailed, GateFailed, HeadraceError, QueueFull
from headrace.export.gate import GateLimits, compare, require_passed, run_gate
from headrace.models.manifest import GateReport
from headrace.types import Arrays, Timings, Window

UNIT = np.array([0.6, 0.8, 0.0], dtype=np.float32)


def arrays(embedding: NDArray[np.float32] = UNIT, norm: float = 2.0) -> Arrays:
    return {"embedding": embedding, "norm": np.array(norm, dtype=np.float32)}


def output(embedding: NDArray[np.float32] = UNIT, norm: float = 2.0) -> Output:
    return Output(windows=(Window(arrays=arrays(embedding, norm), tokens=3, weight=1),), truncated=False)


def judge(*found: Output | HeadraceError) -> GateReport:
    labels = [f"text {number}" for number in range(len(found))]
    return compare(labels, [arrays()] * len(found), found, GateLimits())


def test_equal_outputs_pass():
    report = judge(output(), output())
    assert report.passed
    assert report.texts == 2
    assert [(row.name, row.max_difference) for row in report.outputs] == [("embedding", 0.0), ("norm", 0.0)]
    assert all(row.min_cosine == pytest.approx(1.0, abs=1e-12) for row in report.outputs)


@pytest.mark.parametrize(
    "bad",
    [
        output(UNIT[::-1].copy()),
        output(-UNIT),
        output(UNIT + np.float32(0.002)),
        output(np.zeros(3, dtype=np.float32)),
        output(np.array([np.nan, 0.6, 0.8], dtype=np.float32)),
        output(np.array([np.inf, 0.6, 0.8], dtype=np.float32)),
        output(UNIT[:2]),
        output(norm=2.01),
        output(norm=-2.0),
        output(norm=float("nan")),
        EngineFailed("no answer"),
    ],
)
def test_one_bad_output_among_good_ones_fails_and_is_named(bad: Output | HeadraceError):
    report = judge(output(), bad, output())
    assert not report.passed
    assert report.worst_text == "text 1"
    json.loads(report.model_dump_json())


def test_the_difference_of_the_norm_is_relative():
    report = compare(["a"], [arrays(norm=1000.0)], [output(norm=1000.5)], GateLimits())
    assert report.passed
    assert report.outputs[1].max_difference == pytest.approx(5e-4)


def test_two_vectors_of_zeros_agree():
    zeros = np.zeros(3, dtype=np.float32)
    report = compare(["a"], [arrays(zeros, 0.0)], [output(zeros, 0.0)], GateLimits())
    assert report.passed


def test_the_limits_decide():
    turned = np.array([0.6 + 5e-4, 0.8 - 4e-4, 0.0], dtype=np.float32)
    assert judge(output(turned)).passed
    strict = GateLimits(max_difference=1e-4)
    assert not compare(["a"], [arrays()], [output(turned)], strict).passed
    assert not compare(["a"], [arrays()], [output(turned)], GateLimits(min_cosine=1.0)).passed


class Recorded:
    """An engine that answers every text alike and remembers what it was asked."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.calls: list[str] = []
        self.jobs: list[Job] = []
        self.is_full = is_full

    is_ready = True

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        raise NotImplementedError

    async def start(self) -> None:
        self.calls.append("start")

    async def run(self, job: Job) -> JobResult:
        self.calls.append("run")
        self.jobs.append(job)
        if self.is_full:
            raise QueueFull("full")
        return JobResult(items=(output(),) * len(job.texts), timings=Timings())

    async def probe(self) -> None:
        self.calls.append("probe")

    async def aclose(self) -> None:
        self.calls.append("aclose")


async def test_all_texts_go_to_the_engine_as_one_job():
    engine = Recorded()
    report = await run_gate(Reference(("1", "22"), (arrays(), arrays())), engine, ["one", "two"], GateLimits())
    assert report.passed
    assert engine.calls == ["start", "run", "aclose"]
    assert (engine.jobs[0].texts, engine.jobs[0].truncate) == (("1", "22"), "truncate")


async def test_the_engine_is_closed_when_it_refuses():
    engine = Recorded(is_full=True)
    with pytest.raises(QueueFull):
        await run_gate(Reference(("1",), (arrays(),)), engine, ["one"], GateLimits())
    assert engine.calls[-1] == "aclose"


def test_a_report_of_a_refused_model_is_kept_and_named(tmp_path: Path):
    report = judge(output(), output(-UNIT))
    with pytest.raises(GateFailed, match="text 1") as caught:
        require_passed(report, "tiny", tmp_path / "reports")
    (path,) = (tmp_path / "reports").iterdir()
    assert str(path) in caught.value.message
    assert path.name.startswith("tiny-")
    assert GateReport.model_validate_json(path.read_bytes()) == report


def test_a_model_that_passed_leaves_no_report(tmp_path: Path):
    require_passed(judge(output()), "tiny", tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
