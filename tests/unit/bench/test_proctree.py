import os
from pathlib import Path

import pytest
from bench.proctree import cpu_s, pss_bytes, tree

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    # 10 has the children 11 and 12, 12 has 13; 20 is somebody else's.
    for pid, parent, name in ((10, 1, "server"), (11, 10, "a) b"), (12, 10, "x"), (13, 12, "y"), (20, 1, "other")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0 0 0 0 0 0 0 0 {TICKS} {TICKS} 0 {TICKS} 0 0")
        (folder / "smaps_rollup").write_text("00-ff ---p [rollup]\nRss: 900 kB\nPss:   4 kB\nPss_Anon: 3 kB\n")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_a_tree_is_a_process_with_all_its_descendants(proc: Path) -> None:
    assert sorted(tree(10, proc)) == [10, 11, 12, 13]
    assert tree(20, proc) == [20]


def test_memory_is_the_proportional_set_size_of_the_tree(proc: Path) -> None:
    assert pss_bytes(10, proc) == 4 * 4 * 1024


def test_cpu_time_is_that_of_the_tree_and_of_its_children_that_ended(proc: Path) -> None:
    assert cpu_s(10, proc) == 4 * 3.0


def test_a_process_that_ended_meanwhile_uses_nothing(proc: Path) -> None:
    (proc / "13/stat").unlink()
    (proc / "13/smaps_rollup").unlink()
    assert cpu_s(13, proc) == 0.0
    assert pss_bytes(13, proc) == 0
    assert sorted(tree(10, proc)) == [10, 11, 12]


def test_this_process_can_be_read() -> None:
    assert pss_bytes(os.getpid()) > 1 << 20
    assert cpu_s(os.getpid()) > 0
