"""The threads of the native kernels, under ThreadSanitizer: the one part of them in which threads meet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NATIVE = Path("src/headrace/native")
STRESS = Path("tests/unit/native/pool_stress.c")
GUARDS = {
    "the ticket of the last step is closed": "    atomic_store_explicit(&job->ticket, last << 32 | NO_TASK,",
    "the caller waits for the tasks of others": "    while (atomic_load_explicit(&job->finished,",
    "a job outlives its helpers": "    while (atomic_load_explicit(&job->helpers,",
    "a task is taken by one thread": "        if (!atomic_compare_exchange_weak_explicit(",
}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="there are no kernels here"),
    pytest.mark.xdist_group("zig"),  # the sanitizer's own library is built once, some 60 s, and then kept in a cache
]


def compile_stress(folder: Path, source: str) -> Path:
    pool, program = folder / "pool.c", folder / "stress"
    pool.write_text(source)
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=thread", "-Werror", "-Wno-unused-variable", f"-I{NATIVE}"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, str(STRESS), str(pool), "-lpthread", "-o", str(program)]
    subprocess.run(command, check=True, timeout=280)
    return program


def run(program: Path) -> int:
    try:
        return subprocess.run([program], capture_output=True, timeout=10, check=False).returncode
    except subprocess.TimeoutExpired:  # it takes 0.3 s, so somebody waits for ever, which is a failure too
        return -1


def test_every_task_runs_once_and_nothing_races(tmp_path: Path):
    program = compile_stress(tmp_path, (NATIVE / "pool.c").read_text())
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "0 failures\n"), done.stderr


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_a_guard_that_is_missing_is_noticed(tmp_path: Path, guard: str):
    source = (NATIVE / "pool.c").read_text()
    start = source.index(guard)
    end = source.index(";\n", start) + 2
    statement = source[start:end]
    replacement = statement.replace("if (!", "if (0 && !").replace("while (", "while (0 && ")
    program = compile_stress(
        tmp_path, source[:start] + (replacement if replacement != statement else "") + source[end:]
    )
    assert any(run(program) for _ in range(10))
