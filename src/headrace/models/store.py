"""Where models are kept: a folder of model folders."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import ModelCorrupt, ModelUnknown, StoreUnusable
from headrace.models.folder import ModelFolder, describe_files, open_folder
from headrace.models.manifest import FILE_NAME, Manifest, parse_manifest
from headrace.models.names import check_name

_CURRENT: Final = "current"
_DRAFT_PREFIX: Final = ".draft-"
_DRAFT_MAX_AGE_S: Final = 24 * 3600  # an import takes minutes; an older draft was left by a crash


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version in the store, as its manifest says (its files are not read)."""

    manifest: Manifest
    path: Path
    is_current: bool

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return sum(entry.size_bytes for entry in self.manifest.files.values())


class LocalStore:
    """Models in a folder of this machine; several versions beside each other, one of them current."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list_models(self) -> list[StoredModel]:
        """Return every version of every model, sorted by name, the current version first.

        Raises:
            ModelCorrupt: A manifest cannot be read.
        """
        if not self.root.is_dir():
            return []
        names = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        return [stored for name in names for stored in self.versions(name)]

    def versions(self, name: str) -> list[StoredModel]:
        """Return every version of one model, the current one first and then the newest; empty if there is none.

        Raises:
            ModelCorrupt: A manifest cannot be read.
        """
        current = self._current(name)
        found = [StoredModel(_read_manifest(path), path, path.name == current) for path in self._folders(name)]
        found.sort(key=lambda stored: stored.manifest.lineage.created_at, reverse=True)
        return sorted(found, key=lambda stored: not stored.is_current)

    def find(self, name: str, revision: str | None = None) -> StoredModel:
        """Return one version: the current one, or the one whose revision starts with ``revision``.

        Raises:
            NameInvalid: The name is outside the grammar.
            ModelUnknown: There is no such model, no such version, or more than one.
        """
        versions = self.versions(name)
        if not versions:
            raise ModelUnknown(f"no model {name!r} in {self.root}; headrace models lists them", field="model")
        if revision is None:
            return versions[0]
        matching = [stored for stored in versions if stored.manifest.revision.startswith(revision)]
        if len(matching) != 1:
            raise ModelUnknown(
                f"{len(matching)} versions of {name!r} start with {revision!r}; headrace models show {name} lists them",
                field="revision",
            )
        return matching[0]

    def open(self, name: str, revision: str | None = None) -> ModelFolder:
        """Read one version and compare every file with its manifest.

        Raises:
            ModelUnknown: There is no such version.
            ModelCorrupt: A file is not as it was written.
        """
        return open_folder(self.find(name, revision).path)

    def remove(self, name: str, revision: str | None = None) -> list[StoredModel]:
        """Remove one version, or all of them if none is named, and return what was removed.

        A version is renamed before it is deleted: a reader sees all of it or nothing, also when this is cut off.

        Raises:
            ModelUnknown: There is no such version.
            ModelCorrupt: A manifest cannot be read, and one version of several was named.
        """
        if revision is None:
            return self._remove_all(name)
        doomed = self.find(name, revision)
        rest = [stored for stored in self.versions(name) if stored.path != doomed.path]
        if not rest:
            return self._remove_all(name)
        if doomed.is_current:
            self._set_current(name, rest[0].manifest.revision)
        self._bury(doomed.path)
        return [doomed]

    def _remove_all(self, name: str) -> list[StoredModel]:
        """Remove a model in one step, also one whose manifests cannot be read: removing is how to mend it."""
        if not self._folders(name):
            raise ModelUnknown(f"no model {name!r} in {self.root}; headrace models lists them", field="model")
        doomed: list[StoredModel] = []
        with contextlib.suppress(ModelCorrupt):
            doomed = self.versions(name)
        self._bury(self.root / name)
        return doomed

    def _bury(self, path: Path) -> None:
        grave = self._make_draft()
        path.rename(grave / "removed")
        _flush(self.root)
        shutil.rmtree(grave)

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """Give an empty folder in the store, to build a version in; it is removed unless ``publish`` took it.

        Raises:
            StoreUnusable: The store cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_old_drafts()
            path = self._make_draft()
        except OSError as error:
            raise StoreUnusable(f"cannot write to {self.root}: {error.strerror}; choose another --home") from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, draft: Path, make: Callable[[dict[str, object]], Manifest]) -> StoredModel:
        """Describe the files of a draft, write its manifest, move it to its place and make it current.

        If the same content is in the store already and whole, that stays as it is, with its lineage: two folders
        cannot change places in one step, and a moment without the model is worse than an older date.

        Args:
            draft: The folder that ``draft`` gave, with every file but the manifest.
            make: Given ``{"files": ...}``, returns the manifest.
        """
        manifest = make({"files": describe_files(draft)})
        target = self.root / check_name(manifest.name) / manifest.revision
        (draft / FILE_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if not _is_whole(target):
            for path in [*draft.iterdir(), draft]:
                _flush(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                self._bury(target)
            draft.rename(target)
            _flush(target.parent)
        self._set_current(manifest.name, manifest.revision)
        return StoredModel(_read_manifest(target), target, is_current=True)

    def _folders(self, name: str) -> list[Path]:
        folder = self.root / check_name(name)
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _current(self, name: str) -> str | None:
        try:
            return (self.root / name / _CURRENT).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def _set_current(self, name: str, revision: str) -> None:
        folder = self.root / name
        draft = folder / _draft_name()
        with draft.open("x", encoding="ascii") as file:
            file.write(revision + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / _CURRENT)
        _flush(folder)

    def _make_draft(self) -> Path:
        """Make an empty folder; not by ``tempfile``, whose folders no other user may read once they are published."""
        path = self.root / _draft_name()
        path.mkdir()
        return path

    def _remove_old_drafts(self) -> None:
        for path in self.root.glob(f"{_DRAFT_PREFIX}*"):
            if time.time() - path.stat().st_mtime > _DRAFT_MAX_AGE_S:
                shutil.rmtree(path, ignore_errors=True)


def _draft_name() -> str:
    return _DRAFT_PREFIX + secrets.token_hex(8)


def _is_whole(path: Path) -> bool:
    try:
        open_folder(path)
    except ModelCorrupt:
        return False
    return True


def _read_manifest(folder: Path) -> Manifest:
    try:
        return parse_manifest((folder / FILE_NAME).read_bytes())
    except OSError as error:
        raise ModelCorrupt(f"{folder / FILE_NAME} is missing; import the model again") from error


def _flush(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
