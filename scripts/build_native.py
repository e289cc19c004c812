"""Builds the kernels of ``src/headrace/native`` when the package is built: a hook of Hatchling.

The compiler comes from the package index too (``ziglang``: Clang, with the headers of an old glibc), so a machine
needs none of its own, and everybody gets the same code. Only Linux on x86-64 gets kernels; elsewhere, and where they
cannot be built, the package is made without them and models run on the other runtimes.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES: Final = Path("src/headrace/native")
TAG: Final = "py3-none-manylinux_2_28_x86_64"
_AVX2: Final = ("-mavx2", "-mfma", "-mf16c", "-mbmi2")
INSTRUCTIONS: Final = {
    "avx2": _AVX2,
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mavx512vnni", *_AVX2),
}
"""The kernels are built for each of these; ``engine/plan.py`` asks the processor before it loads one."""
_ZIG: Final = (sys.executable, "-m", "ziglang")
_TARGET: Final = ("-target", "x86_64-linux-gnu.2.28")
FLAGS: Final = ("-std=gnu11", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")
COMPILER: Final = (*_ZIG, "cc", *_TARGET)
# Not linked by ``zig cc``: that would build Zig's own runtime library first, 8 s for nothing that the kernels call.
LINKER: Final = (*_ZIG, "build-lib", *_TARGET, "-dynamic", "-O", "ReleaseFast", "-fno-compiler-rt", "-fno-ubsan-rt")
LIBRARIES: Final = ("-lc", "-lm", "-z", "defs")  # with the last, whatever is missing is missed here


class NativeHook(BuildHookInterface):
    """Compiles before the files of a wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as the interface has it
        """Build the library, and say for which machines the wheel is."""
        if self.target_name != "wheel" or (sys.platform, platform.machine()) != ("linux", "x86_64"):
            return
        try:
            libraries = build(Path(self.root))
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"built without native kernels: {error}")
            return
        build_data["artifacts"].extend(f"/{library}" for library in libraries)
        build_data.update(pure_python=False, tag=TAG)


def build(root: Path) -> list[Path]:
    """Compile the libraries, each in place of the old one in one step: a process may have it loaded.

    Returns:
        Where they are, from the root.

    Raises:
        CalledProcessError: The compiler failed; it has said why.
        OSError: It cannot be started.
    """
    sources = sorted((root / SOURCES).glob("*.c"), key=lambda path: path.stat().st_size, reverse=True)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            (name, source, Path(scratch) / f"{name}-{source.stem}.o") for source in sources for name in INSTRUCTIONS
        ]
        list(pool.map(_compile, *zip(*jobs, strict=True)))  # the largest first: an installation waits for the last
        return list(pool.map(partial(_link, root, Path(scratch)), INSTRUCTIONS))


def _compile(name: str, source: Path, item: Path) -> None:
    subprocess.run([*COMPILER, *FLAGS, *INSTRUCTIONS[name], "-c", str(source), "-o", str(item)], check=True)


def _link(root: Path, items: Path, name: str) -> Path:
    library = SOURCES / f"libheadrace-{name}.so"
    draft = root / library.with_suffix(".tmp")
    objects = [str(path) for path in sorted(items.glob(f"{name}-*.o"))]
    # A name of its own: of two libraries with one name, a process gets the one that it has loaded already.
    named = (f"-femit-bin={draft}", f"-fsoname={library.name}")
    subprocess.run([*LINKER, *LIBRARIES, *named, *objects], check=True)
    draft.replace(root / library)
    return library
