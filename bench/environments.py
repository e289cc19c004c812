"""Environments of rivals and of clients: each made by uv from a lock file with hashes, outside the repository."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.places import ROOT, cache_folder
from bench.progress import say

_INSTALL_LIMIT_S: Final = 1800  # PyTorch alone is 2.5 GB; on a slow line that takes its time
OURS: Final = "headrace"

Use = Literal["bench", "client"]


class EnvironmentUnusable(Exception):
    """An environment could not be made here; what needs it is left out, with this as the reason."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready."""

    name: str
    folder: Path

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.bin / "python"


def lock_file(name: str, use: Use = "bench") -> Path:
    """Return the pinned packages of an environment; Headrace's are those it is served with."""
    return ROOT / "requirements" / ("base.txt" if name == OURS else f"{use}-{name}.txt")


def environment(name: str, use: Use = "bench") -> Environment:
    """Return an environment, made anew if its lock file has changed.

    Args:
        name: Of the lock file, without what it is for.
        use: What it is for: to be measured beside us, or to ask us as a client.

    Raises:
        EnvironmentUnusable: It cannot be installed here; the message holds the installer's last words.
    """
    lock = lock_file(name, use)
    checkout = str(ROOT) if name == OURS else ""  # which is installed into ours
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode() + checkout.encode()).hexdigest()
    made = Environment(name, cache_folder() / "environments" / use / name)
    stamp = made.folder / "lock.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return made
    say(f"installing the environment {name!r} from {lock.relative_to(ROOT)}")
    made.folder.parent.mkdir(parents=True, exist_ok=True)
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(made.folder))
    install = ("pip", "install", "--quiet", "--link-mode", "hardlink", "--python", str(made.python))
    _uv(*install, "--require-hashes", "-r", str(lock))
    if name == OURS:
        _uv(*install, "--no-deps", "--editable", str(ROOT))
    stamp.write_text(digest)
    return made


def installed() -> list[Environment]:
    """Return the environments that are ready to be measured, by name."""
    stamps = sorted((cache_folder() / "environments/bench").glob("*/lock.sha256"))
    return [Environment(stamp.parent.name, stamp.parent) for stamp in stamps]


def frozen(made: Environment) -> str:
    """Return what is installed in an environment, a package a line.

    Raises:
        EnvironmentUnusable: It cannot be read.
    """
    return _uv("pip", "freeze", "--quiet", "--python", str(made.python))


def _uv(*arguments: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), *arguments]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise EnvironmentUnusable(said[-1] if said else str(error)) from error
    return done.stdout
