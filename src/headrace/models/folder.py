"""A model folder on disk: checked when it is read, whole when it is written.

Layout of a store::

    models/<name>/<revision>/manifest.json, model.onnx, reference.json, tokenizer.json, card.md
    models/<name>/roles.json       which revision answers, and which is tried out beside it

A folder is built beside its place and renamed into it, and the roles are replaced in one step, so a crash
leaves the old state or the new one.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import ModelCorrupt
from headrace.models.disk import reading
from headrace.models.manifest import (
    FILE_NAME,
    IMPORT_AGAIN,
    MAX_MANIFEST_BYTES,
    REFERENCE,
    FileEntry,
    Manifest,
    parse_manifest,
)

GRAPH: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
_REQUIRED: Final = (GRAPH, REFERENCE, TOKENIZER)
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder whose every byte was compared with its manifest."""

    path: Path
    manifest: Manifest

    @property
    def graph(self) -> Path:
        """The ONNX graph, weights inside."""
        return self.path / GRAPH

    @property
    def reference(self) -> Path:
        """Some texts with the original model's answers."""
        return self.path / REFERENCE

    @property
    def tokenizer(self) -> Path:
        """The ``tokenizers`` file."""
        return self.path / TOKENIZER


def open_folder(path: Path) -> ModelFolder:
    """Read a model folder and compare every file with the manifest.

    Raises:
        ModelCorrupt: A file is missing, changed, not listed, or no plain file; the message names it.
        StoreUnusable: A file cannot be read.
    """
    manifest = read_manifest(path)
    check_listing(manifest, path / FILE_NAME)
    expected = set(manifest.files) | {FILE_NAME}
    with reading(path):
        present = {entry.name for entry in os.scandir(path)}
    if present - expected:
        raise ModelCorrupt(f"{path}: {min(present - expected)!r} is not in the manifest; import the model again")
    for name, entry in sorted(manifest.files.items()):
        _compare(path / name, entry)
    return ModelFolder(path, manifest)


def check_listing(manifest: Manifest, path: Path | str, remedy: str = IMPORT_AGAIN) -> None:
    """Check which files a manifest lists, before any of these names becomes a path.

    Args:
        manifest: Lists them.
        path: Where it lies, for the message.
        remedy: What to do, for the message.

    Raises:
        ModelCorrupt: One leads outside the folder, or one that every model has is not among them.
    """
    for name in sorted(manifest.files):
        if Path(name).name != name or name in {"", ".", ".."} or "\0" in name:
            raise ModelCorrupt(f"{path} lists {name!r}, which leads outside the folder; {remedy}")
    for name in _REQUIRED:
        if name not in manifest.files:
            raise ModelCorrupt(f"{path} lists no {name}; {remedy}")


def read_manifest(folder: Path) -> Manifest:
    """Read what a model folder says about itself; the other files are not looked at.

    Raises:
        ModelCorrupt: The manifest is missing, no plain file, too large, or broken.
        StoreUnusable: It cannot be read.
    """
    path = folder / FILE_NAME
    return parse_manifest(read_small(path, MAX_MANIFEST_BYTES), path)


def read_small(path: Path, max_bytes: int) -> bytes:
    """Read a file that has a size it cannot reasonably have more of.

    Raises:
        ModelCorrupt: It is missing, no plain file (a pipe would never end), or too large.
        StoreUnusable: It cannot be read.
    """
    if _require_plain(path).st_size > max_bytes:
        raise ModelCorrupt(f"{path} is larger than {max_bytes} bytes; import the model again")
    with reading(path):
        return path.read_bytes()


def describe_file(path: Path) -> FileEntry:
    """Return a file's digest and size."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(sha256=digest.hexdigest(), size_bytes=size)


def describe_files(folder: Path) -> Mapping[str, FileEntry]:
    """Return what the manifest says of each file of a folder that is being written."""
    return {path.name: describe_file(path) for path in sorted(folder.iterdir()) if path.name != FILE_NAME}


def _require_plain(path: Path) -> os.stat_result:
    with reading(path):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ModelCorrupt(f"{path} is missing; import the model again") from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelCorrupt(f"{path} is no plain file (a link or a folder); import the model again")
    return found


def _compare(path: Path, entry: FileEntry) -> None:
    size = _require_plain(path).st_size
    if size != entry.size_bytes:
        raise ModelCorrupt(f"{path} has {size} bytes instead of {entry.size_bytes}; import the model again")
    with reading(path):
        found = describe_file(path)
    if found.sha256 != entry.sha256:
        raise ModelCorrupt(f"{path} has another SHA-256 than its manifest says; import the model again")
