"""What lies in the store: whole versions, broken ones with the reason, and folders that are no business of ours."""

import os
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import ModelCorrupt, ModelError, StoreUnusable
from headrace.models.disk import reading
from headrace.models.folder import read_manifest, read_small
from headrace.models.manifest import FILE_NAME, Manifest
from headrace.models.roles import MAX_ROLES_BYTES, ROLES, Roles, parse_roles, require_champion
from headrace.types import MODEL_NAME

_REVISION: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version in the store, as its manifest says (its files are not read)."""

    manifest: Manifest
    path: Path
    is_current: bool

    @property
    def revision(self) -> str:
        """The whole of it, which is the name of its folder."""
        return self.manifest.revision

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return self.manifest.size_bytes


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with one version, or with a model as a whole.

    Attributes:
        name: The model.
        revision: Name of the version's folder; nothing if no version of the model can be told to be current.
        path: What cannot be used.
        is_current: Whether it keeps the model from being served.
        error: What is wrong and what to do.
    """

    name: str
    revision: str | None
    path: Path
    is_current: bool
    error: ModelError


@dataclass(frozen=True, slots=True)
class Scan:
    """One model as it lies in the store.

    Attributes:
        name: The model.
        versions: Those that are whole, the current one first and then the newest.
        defects: Those that are not, and what else is wrong.
        roles: What was chosen about them, if anything was.
    """

    name: str
    versions: tuple[StoredModel, ...]
    defects: tuple[Defect, ...]
    roles: Roles | None = None

    @property
    def entries(self) -> tuple[StoredModel | Defect, ...]:
        """All of it, whole versions first."""
        return (*self.versions, *self.defects)

    @property
    def obstacle(self) -> ModelError | None:
        """Why the model cannot be served, if so: another version than the one that was chosen is never a stand-in."""
        hindering = [defect.error for defect in self.defects if defect.is_current or not self.versions]
        return hindering[0] if hindering else None

    def describe_role(self, stored: StoredModel) -> str:
        """Return what a version does, in a word or two; nothing if it has no role."""
        if self.roles is not None:
            return self.roles.describe(stored.revision)
        return "champion" if stored is self.versions[0] and self.obstacle is None else ""


def model_names(root: Path) -> list[str]:
    """Return the names of the folders that hold models, sorted; others, such as ``lost+found``, are passed over.

    Raises:
        StoreUnusable: The store is there and cannot be read.
    """
    with reading(root):
        try:
            folders = [entry.name for entry in os.scandir(root) if entry.is_dir()]
        except FileNotFoundError:
            return []
    return sorted(name for name in folders if MODEL_NAME.fullmatch(name) and holds_model(root / name))


def holds_model(folder: Path) -> bool:
    """Tell whether a folder is a model's, whole or broken; one that cannot be read may be."""
    try:
        if (folder / ROLES).exists():
            return True
        return any(_REVISION.fullmatch(path.name) or (path / FILE_NAME).exists() for path in _version_folders(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def scan_model(folder: Path) -> Scan:
    """Read the manifests of a model's versions; what cannot be read becomes a defect, and is not raised."""
    versions: list[StoredModel] = []
    defects: list[Defect] = []
    roles = None
    try:
        with reading(folder):
            paths = _version_folders(folder)
    except StoreUnusable as error:
        return Scan(folder.name, (), (Defect(folder.name, None, folder, is_current=True, error=error),))
    try:
        roles = _read_roles(folder / ROLES, {path.name for path in paths})
    except (ModelCorrupt, StoreUnusable) as error:
        defects.append(Defect(folder.name, None, folder / ROLES, is_current=True, error=error))
    for path in paths:
        is_current = roles is not None and path.name == roles.champion
        try:
            versions.append(StoredModel(_read_version(path), path, is_current))
        except (ModelCorrupt, StoreUnusable) as error:
            defects.append(Defect(folder.name, path.name, path, is_current, error))
    versions.sort(key=lambda stored: stored.manifest.lineage.created_at, reverse=True)
    versions.sort(key=lambda stored: not stored.is_current)
    return Scan(folder.name, tuple(versions), tuple(defects), roles)


def _version_folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def _read_roles(path: Path, revisions: AbstractSet[str]) -> Roles | None:
    """Return what was chosen about some versions, or nothing if nothing was.

    Raises:
        ModelCorrupt: It cannot be understood, or the champion is not there.
        StoreUnusable: It cannot be read.
    """
    with reading(path):
        try:
            path.lstat()
        except FileNotFoundError:
            return None
    roles = parse_roles(read_small(path, MAX_ROLES_BYTES), path)
    require_champion(roles, revisions, path)
    return roles


def _read_version(path: Path) -> Manifest:
    """Return a version's manifest, which must be that of this place.

    Raises:
        ModelCorrupt: It is missing, broken, or that of another model or revision.
        StoreUnusable: It cannot be read.
    """
    manifest = read_manifest(path)
    if manifest.name != path.parent.name:
        raise ModelCorrupt(
            f"the folder {str(path.parent)!r} holds the model {manifest.name!r}; rename it back to {manifest.name!r},"
            " or import the model under the name you want"
        )
    if manifest.revision != path.name:
        raise ModelCorrupt(
            f"the folder {str(path)!r} holds the revision {manifest.revision!r}; rename it to that, or remove it"
        )
    return manifest
