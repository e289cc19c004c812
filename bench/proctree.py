"""What a process and all its descendants use: memory and CPU time, from /proc."""

import os
from collections import defaultdict
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Places in /proc/<pid>/stat counted after the name in brackets, which may hold spaces (proc(5)).
_PARENT, _USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM = 1, 11, 12, 13, 14


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """Return a process and its descendants, those that still live."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in proc.iterdir():
        stat = _stat(int(entry.name), proc) if entry.name.isdigit() else None
        if stat:
            children[int(stat[_PARENT])].append(int(entry.name))
    found = [pid]
    for each in found:  # grows while it is walked
        found += children[each]
    return found


def pss_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the memory of a tree: proportional set size, which counts a shared page once in all."""
    total = 0
    for each in tree(pid, proc):
        for line in _read(proc / str(each) / "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_s(pid: int, proc: Path = PROC) -> float:
    """Return the CPU seconds of a tree, user and system, those of children that have ended included."""
    ticks = 0
    for each in tree(pid, proc):
        stat = _stat(each, proc)
        if stat:
            ticks += sum(int(stat[place]) for place in (_USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int, proc: Path) -> list[str]:
    _, _, rest = _read(proc / str(pid) / "stat").rpartition(")")
    return rest.split()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended since
        return ""
