"""Programs of other languages: each built once from its folder and the lock file there, outside the repository."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.places import cache_folder
from bench.progress import say

_BUILD_LIMIT_S: Final = 900  # Go compiles its own library too the first time: 2 minutes of processor time
_VERSION: Final = re.compile(r"(\d+)(?:\.(\d+))?")


class ToolMissing(Exception):
    """A program cannot be built here; the message says what is missing and how to install it."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What builds and starts the programs of a language.

    Attributes:
        tools: Each command that is needed.
        version: How the first of them tells its version, and the least that will do.
        packages: Debian's, which hold the tools.
        build: Run in a copy of a program's folder.
        start: Run with what the program is asked; ``{folder}`` is that copy and ``{name}`` the program.
    """

    name: str
    tools: tuple[str, ...]
    version: tuple[str, tuple[int, int]]
    packages: str
    build: tuple[str, ...]
    start: tuple[str, ...]


TOOLCHAINS: Final[Mapping[str, Toolchain]] = {
    "package-lock.json": Toolchain(
        "Node.js",
        ("node", "npm"),
        ("--version", (20, 0)),
        "nodejs npm",
        ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
        ("node", "{folder}/{name}.mjs"),
    ),
    "go.sum": Toolchain(
        "Go",
        ("go",),
        ("version", (1, 24)),
        "golang-go",
        # Programs that are here, and those of others that go.mod names. Nothing is optimized: with Go's own library
        # the two of now compile in 115 s of processor time instead of 190.
        ("go", "build", "-gcflags=all=-N -l", "-o", "bin/", "./...", "tool"),
        ("{folder}/bin/{name}",),
    ),
    "pom.xml": Toolchain(
        "Java",
        ("javac", "java", "mvn"),
        ("-version", (17, 0)),
        "default-jdk-headless maven",
        ("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "dependency:copy-dependencies"),
        ("java", "-cp", "{folder}/lib/*", "{folder}/{name}.java"),
    ),
}
"""By the file that pins what programs are built from."""


def build(source: Path, cache: Path | None = None) -> tuple[str, ...]:
    """Return the command of a program, built anew if anything in its folder has changed.

    Args:
        source: Its folder, which is called as the program is.
        cache: Where it is built; by default beside the environments of clients in Python.

    Raises:
        ToolMissing: What builds it is not installed, or is too old.
        subprocess.CalledProcessError: It cannot be built; what was said about it has been written to stderr.
    """
    (toolchain,) = (TOOLCHAINS[name] for name in TOOLCHAINS if (source / name).is_file())
    version = require(toolchain)
    made = (cache or cache_folder() / "programs") / source.name
    stamp, digest = made / "built.sha256", _digest(source, f"{version} {toolchain.build}")
    if not stamp.is_file() or stamp.read_text() != digest:
        say(f"building {source.name!r} with {toolchain.name}")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(source, made)
        subprocess.run(toolchain.build, cwd=made, check=True, timeout=_BUILD_LIMIT_S, stdout=subprocess.DEVNULL)
        stamp.write_text(digest)
    return tuple(part.format(folder=made, name=source.name) for part in toolchain.start)


def require(toolchain: Toolchain, path: str | None = None) -> str:
    """Return what the first tool says of its version.

    Args:
        toolchain: Whose tools are looked for.
        path: Where, by default where the environment says.

    Raises:
        ToolMissing: One is not there, or is too old.
    """
    how, least = toolchain.version
    wanted = f"{toolchain.name} {least[0]}.{least[1]} or newer"
    advice = f"on Debian: apt-get install {toolchain.packages}"
    missing = [tool for tool in toolchain.tools if shutil.which(tool, path=path) is None]
    if missing:
        raise ToolMissing(f"{wanted} is needed and {' and '.join(missing)} is missing; {advice}")
    said = subprocess.run(
        [str(shutil.which(toolchain.tools[0], path=path)), how], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()
    found = _VERSION.search(said)
    if found is None or (int(found[1]), int(found[2] or 0)) < least:
        raise ToolMissing(f"{wanted} is needed and {said!r} is here; {advice}, of a newer release if that is it")
    return said


def _digest(source: Path, builder: str) -> str:
    digest = hashlib.sha256(builder.encode())
    for path in sorted(source.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
