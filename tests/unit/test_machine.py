import os
from pathlib import Path

import pytest

from headrace.machine import Machine, read_machine, stand_back

CPUINFO = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu avx2 avx512f sse\n\nmodel name\t: another\n"
MEMINFO = "MemTotal:       2048 kB\nMemFree: 1 kB\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    put(tmp_path, "proc/cpuinfo", CPUINFO)
    put(tmp_path, "proc/meminfo", MEMINFO)
    return tmp_path


def put(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_a_machine_without_limits_is_what_the_kernel_says(root: Path) -> None:
    assert read_machine(root) == Machine(
        cpus=8.0, memory_bytes=2048 * 1024, cpu_model="A Processor", cpu_flags=("avx2", "avx512f")
    )


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, 8.0),
        ({"cpu.max": "1600000 100000"}, 8.0),
        ({"cpu.max": "100000 0"}, 8.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8.0),
        ({"cpu/cpu.cfs_quota_us": "50000"}, 8.0),
    ],
)
def test_the_cpu_limit_of_the_container_counts(root: Path, files: dict[str, str], cpus: float) -> None:
    for name, content in files.items():
        put(root, f"sys/fs/cgroup/{name}", content)
    assert read_machine(root).cpus == cpus


@pytest.mark.parametrize(
    ("files", "memory_bytes"),
    [
        ({"memory.max": "1000000"}, 1_000_000),
        ({"memory.max": "max"}, 2048 * 1024),
        ({"memory/memory.limit_in_bytes": "500000"}, 500_000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, 2048 * 1024),
    ],
)
def test_the_memory_limit_of_the_container_counts(root: Path, files: dict[str, str], memory_bytes: int) -> None:
    for name, content in files.items():
        put(root, f"sys/fs/cgroup/{name}", content)
    assert read_machine(root).memory_bytes == memory_bytes


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        # A service of systemd, limited itself or with its slice.
        ("0::/system.slice/headrace.service", {"system.slice/headrace.service/cpu.max": "200000 100000"}, 2.0),
        ("0::/system.slice/headrace.service", {"system.slice/cpu.max": "300000 100000"}, 3.0),
        (
            "0::/a.slice/b.service",
            {"a.slice/cpu.max": "100000 100000", "a.slice/b.service/cpu.max": "max 100000"},
            1.0,
        ),
        # A container that sees the path outside of it, but not its folder; and one that is told of a foreign group.
        ("0::/docker/0a1b", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/../other", {"cpu.max": "400000 100000", "other/cpu.max": "100000 100000"}, 4.0),
        # v1 has a path for each controller, and v2 beside it none of them.
        (
            "3:cpu,cpuacct:/jobs\n2:memory:/mail\n0::/user",
            {"cpu/jobs/cpu.cfs_quota_us": "150000", "cpu/jobs/cpu.cfs_period_us": "100000"},
            1.5,
        ),
        ("no such\nformat:", {"cpu.max": "400000 100000"}, 4.0),
    ],
)
def test_every_control_group_around_the_process_limits_its_cpus(
    root: Path, groups: str, files: dict[str, str], cpus: float
) -> None:
    put(root, "proc/self/cgroup", groups)
    for name, content in files.items():
        put(root, f"sys/fs/cgroup/{name}", content)
    assert read_machine(root).cpus == cpus


def test_the_narrowest_memory_limit_counts(root: Path) -> None:
    put(root, "proc/self/cgroup", "4:memory:/mail\n0::/jobs/one")
    put(root, "sys/fs/cgroup/jobs/memory.max", "1000000")
    put(root, "sys/fs/cgroup/jobs/one/memory.max", "max")
    assert read_machine(root).memory_bytes == 1_000_000
    put(root, "sys/fs/cgroup/memory/mail/memory.limit_in_bytes", "700000")
    assert read_machine(root).memory_bytes == 700_000


@pytest.mark.parametrize(("cpus", "threads"), [(0.25, 1), (1.0, 1), (1.9, 1), (2.0, 2), (7.5, 7)])
def test_threads_are_whole_and_at_least_one(cpus: float, threads: int) -> None:
    assert Machine(cpus=cpus, memory_bytes=1, cpu_model="", cpu_flags=()).threads == threads


def test_without_the_kernels_files_the_system_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    put(tmp_path, "proc/meminfo", "SwapTotal: 1 kB\n")
    found = read_machine(tmp_path)
    assert found.cpus == 3.0
    assert found.memory_bytes > 1 << 20
    assert found.cpu_flags == ()


def test_this_machine_can_be_read() -> None:
    found = read_machine()
    assert found.cpus > 0
    assert found.memory_bytes > 1 << 20


def test_a_sandbox_that_forbids_priorities_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "nice", refuse)
    stand_back()
