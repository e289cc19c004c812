from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.manifests import describe_model
from tests.support.services import PLAN

from headrace.engine import plans
from headrace.engine.plans import Trial, Tuned, find_tuned, save_tuned, signature
from headrace.errors import StoreUnusable
from headrace.machine import Machine

MACHINE = Machine(cpus=2.0, memory_bytes=1 << 30, cpu_model="a processor", cpu_flags=("avx2",))
MANIFEST = describe_model(name="m", dimensions=8)
TUNED = Tuned(
    plan=PLAN,
    trials=(Trial(plan=PLAN, tokens_per_s=10.0, latency_s=0.1, min_cosine=1.0, verdict="chosen"),),
    noise=0.03,
    is_whole=True,
    took_s=1.0,
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


def test_what_was_kept_is_found(tmp_path: Path):
    assert find_tuned(tmp_path, MANIFEST, MACHINE) is None
    path = save_tuned(tmp_path, MANIFEST, MACHINE, TUNED)
    assert find_tuned(tmp_path, MANIFEST, MACHINE) == TUNED
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "other",
    [
        replace(MACHINE, cpus=1.0),
        replace(MACHINE, memory_bytes=1 << 29),
        replace(MACHINE, cpu_model="another processor"),
        replace(MACHINE, cpu_flags=("avx2", "avx512f")),
    ],
)
def test_another_processor_or_limit_is_another_measurement(tmp_path: Path, other: Machine):
    save_tuned(tmp_path, MANIFEST, MACHINE, TUNED)
    assert find_tuned(tmp_path, MANIFEST, other) is None


def test_another_runtime_is_another_measurement(monkeypatch: pytest.MonkeyPatch):
    with_all = signature(MACHINE)
    monkeypatch.setattr(plans, "installed_runtimes", lambda: ())
    assert signature(MACHINE) != with_all


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1"])
def test_a_broken_file_counts_as_none_and_is_replaced(tmp_path: Path, content: bytes):
    path = save_tuned(tmp_path, MANIFEST, MACHINE, TUNED)
    path.write_bytes(content)
    assert find_tuned(tmp_path, MANIFEST, MACHINE) is None
    save_tuned(tmp_path, MANIFEST, MACHINE, TUNED)
    assert find_tuned(tmp_path, MANIFEST, MACHINE) == TUNED


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "plans").write_text("a file where the folder would be")
    with pytest.raises(StoreUnusable, match="plans"):
        save_tuned(tmp_path / "plans", MANIFEST, MACHINE, TUNED)
