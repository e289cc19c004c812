"""What this machine allows us: CPUs, memory, instruction sets, as the kernel and the container say it.

``os.cpu_count()`` counts the host's cores, also in a container that may use two of them; runtimes that
trust it start dozens of threads and are throttled (microsoft/onnxruntime#10038, text-embeddings-inference#170).
"""

import contextlib
import math
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

# The extensions that decide which precisions are fast; names as Linux spells them in /proc/cpuinfo.
_TELLING_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
# Steps down, of the 19 there are: others have then nine times the weight of a thread that stands back (decision 0015).
_STAND_BACK = 10
_STAND_ASIDE: Final = 19
NORMAL: Final = "normal"
IDLE: Final = "idle"
"""Priorities of an engine's process: as any other, or behind all others."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that sizing decisions rest on.

    Attributes:
        cpus: Cores this process may keep busy; a container limit of 1.5 gives 1.5.
        memory_bytes: Memory limit of the container, or the machine's memory.
        cpu_model: Name of the processor.
        cpu_flags: The instruction sets among those that matter for inference.
    """

    cpus: float
    memory_bytes: int
    cpu_model: str
    cpu_flags: tuple[str, ...]

    @property
    def threads(self) -> int:
        """Whole threads that fit into the CPU limit, at least one."""
        return max(1, math.floor(self.cpus))


def stand_back() -> None:
    """Let threads that answer somebody go before this one, which computes for long, where both want the same core.

    They need it for a moment only, so little is given up. The threads that this one starts stand back too.
    """
    if sys.platform == "linux":  # elsewhere a process has a priority, not a thread
        with contextlib.suppress(OSError):  # a sandbox may forbid it: then it is as it was
            os.nice(_STAND_BACK)


def stand_aside() -> None:
    """Let every other thread of the machine go before this process from now on: it computes when nothing else does.

    The threads that it starts stand aside too. There is no way back for who is not root.
    """
    if sys.platform != "linux":
        os.nice(_STAND_ASIDE)
        return
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a sandbox may forbid it, and a thread may have ended meanwhile
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def read_machine(root: Path = Path("/")) -> Machine:
    """Read the machine's facts; ``root`` is where ``/proc`` and ``/sys`` are found."""
    model, flags = _read_cpuinfo(root / "proc/cpuinfo")
    limits = [limit for limit in (_affinity(), _cgroup_cpus(root)) if limit is not None]
    return Machine(
        cpus=min(limits, default=1.0),
        memory_bytes=min(_memory_total(root), _cgroup_memory(root)),
        cpu_model=model,
        cpu_flags=flags,
    )


def _affinity() -> float | None:
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, each before the one around it: every one of them limits it.

    A container sees its own group as the outermost one. A service of systemd, and a process on a machine whose groups
    are not hidden from it, is deeper down, where ``/proc/self/cgroup`` says.
    """
    mount = root / "sys/fs/cgroup"
    own = {controller: "/", "": "/"}  # v1 has a hierarchy for each controller; v2 has one, whose name is empty
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if path.startswith("/") and ".." not in path:  # "/../a" is a group outside of what this container may see
            own.update({name: path for name in names.split(",") if name in own})
    for hierarchy, path in ((mount / controller, own[controller]), (mount, own[""])):
        place = PurePosixPath(path)
        yield from (hierarchy / group.relative_to("/") for group in (place, *place.parents))


def _cgroup_cpus(root: Path) -> float | None:
    """Return the least CPU limit of the control groups, of v1 and v2; nothing if there is none."""
    limits = []
    for group in _groups(root, "cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # "max" in v2 and -1 in v1 mean: no limit
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _cgroup_memory(root: Path) -> int:
    files = [group / name for group in _groups(root, "memory") for name in ("memory.max", "memory.limit_in_bytes")]
    return min((int(text) for text in map(_read, files) if text.isdigit()), default=1 << 62)


def _memory_total(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_cpuinfo(path: Path) -> tuple[str, tuple[str, ...]]:
    facts: dict[str, str] = {}
    for line in _read(path).splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = set(facts.get("flags", "").split())
    return (
        facts.get("model name") or platform.processor() or platform.machine(),
        tuple(flag for flag in _TELLING_FLAGS if flag in flags),
    )
