"""Where models are kept: a folder of model folders."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from headrace.errors import ModelCorrupt, ModelUnknown, StoreUnusable, VersionUnfit
from headrace.models.disk import filling, flush, reading, writing
from headrace.models.drafts import draft_name, held, held_draft, remove_abandoned
from headrace.models.folder import ModelFolder, describe_files, open_folder, read_manifest
from headrace.models.manifest import FILE_NAME, Manifest
from headrace.models.names import check_name
from headrace.models.roles import ROLES, Candidate, Roles
from headrace.models.scan import Defect, Scan, StoredModel, holds_model, model_names, scan_model

__all__ = ["LocalStore", "StoredModel"]


class LocalStore:
    """Models in a folder of this machine; several versions beside each other, one of them current."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scan(self, name: str) -> Scan:
        """Return the whole versions of one model and what is wrong with the others.

        Raises:
            NameInvalid: The name is outside the grammar.
            ModelUnknown: There is no such model.
        """
        folder = self.root / check_name(name)
        if not holds_model(folder):
            raise ModelUnknown(f"no model {name!r} in {self.root}; headrace models lists them", field="model")
        return scan_model(folder)

    def scan_all(self) -> list[Scan]:
        """Return the same of every model, sorted by name; empty if there is no store yet.

        Raises:
            StoreUnusable: The store cannot be read.
        """
        return [scan_model(self.root / name) for name in model_names(self.root)]

    def list_models(self) -> list[StoredModel]:
        """Return every whole version of every model, sorted by name, the current version first.

        Raises:
            StoreUnusable: The store cannot be read.
        """
        return [stored for found in self.scan_all() for stored in found.versions]

    def versions(self, name: str) -> list[StoredModel]:
        """Return every whole version of one model, the current one first and then the newest; empty if there is none.

        Raises:
            ModelCorrupt: The current version is broken.
            StoreUnusable: It cannot be read.
        """
        try:
            found = self.scan(name)
        except ModelUnknown:
            return []
        return list(_served(found))

    def find(self, name: str, revision: str | None = None) -> StoredModel:
        """Return one version: the current one, or the one whose revision starts with ``revision``.

        Raises:
            NameInvalid: The name is outside the grammar.
            ModelUnknown: There is no such model, no such version, or more than one.
            ModelCorrupt: It is broken.
            StoreUnusable: It cannot be read.
        """
        found = self.scan(name)
        if revision is None:
            return _served(found)[0]
        match = _match(found, revision)
        if isinstance(match, Defect):
            raise match.error
        return match

    def open(self, name: str, revision: str | None = None) -> ModelFolder:
        """Read one version and compare every file with its manifest.

        Raises:
            ModelUnknown: There is no such version.
            ModelCorrupt: A file is not as it was written.
            StoreUnusable: A file cannot be read.
        """
        return open_folder(self.find(name, revision).path)

    def select(self, name: str, revision: str | None = None) -> Scan:
        """Return what ``remove`` would remove, broken versions too.

        Raises:
            ModelUnknown: There is no such version.
        """
        found = self.scan(name)
        if revision is None:
            return found
        match = _match(found, revision)
        return Scan(name, (), (match,)) if isinstance(match, Defect) else Scan(name, (match,), ())

    def remove(self, name: str, revision: str | None = None) -> Scan:
        """Remove one version, or all of them if none is named, and return what was removed.

        A version is renamed before it is deleted: a reader sees all of it or nothing, also when this is cut off.
        What is broken can be removed like the rest: removing is how to mend it.

        Raises:
            ModelUnknown: There is no such version.
            StoreUnusable: The store cannot be written.
        """
        self.select(name, revision)  # that there is something, before a folder is held
        with writing(self.root), held(self.root / name):
            doomed = self.select(name, revision)
            rest = _without(self.scan(name), doomed)
            if not any(each.revision for each in rest.entries):
                self._bury(self.root / name)
                return doomed
            if rest.roles is not None:
                heir = rest.versions[0].revision if rest.versions else None
                roles = rest.roles.without({each.revision or "" for each in doomed.entries}, heir)
                if roles is not None:
                    self._write_roles(name, roles)
            for each in doomed.entries:
                self._bury(each.path)
        return doomed

    def _bury(self, path: Path) -> None:
        with held_draft(self.root) as grave:
            path.rename(grave / "removed")
            flush(self.root)
            shutil.rmtree(grave)

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """Give an empty folder in the store, to build a version in; it is removed unless ``publish`` took it.

        Raises:
            StoreUnusable: The store cannot be written, or the disk is full.
        """
        with contextlib.ExitStack() as stack:
            with writing(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                remove_abandoned(self.root)
                path = stack.enter_context(held_draft(self.root))
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            with filling(self.root):
                yield path

    def roles(self, name: str) -> Roles:
        """Return which versions of a model do what; the newest is the champion where none was chosen.

        Raises:
            ModelUnknown: There is no such model.
            ModelCorrupt: The champion is broken, or it cannot be told which one it is.
            StoreUnusable: The store cannot be read.
        """
        return _roles(self.scan(name))

    def mark(self, name: str) -> object:
        """Return what differs whenever the roles of a model, or its versions, have changed; costs two looks at files.

        Raises:
            StoreUnusable: The store cannot be read.
        """
        folder = self.root / name
        with reading(folder):
            found = [path.stat() if path.exists() else None for path in (folder, folder / ROLES)]
        return tuple(each and (each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def promote(self, name: str, revision: str) -> Roles:
        """Make another version the champion, and return the roles.

        Args:
            name: The model.
            revision: What the version's revision starts with.

        Raises:
            ModelUnknown: There is no such version.
            ModelCorrupt: It is broken.
            StoreUnusable: The store cannot be written.
        """
        chosen = self.open(name, revision).manifest.revision
        return self._change_roles(name, lambda roles: roles.promote(chosen))

    def roll_back(self, name: str) -> Roles:
        """Make the champion of before the champion again, and return the roles.

        Raises:
            ModelUnknown: There is none.
            ModelCorrupt: It is broken.
            StoreUnusable: The store cannot be written.
        """
        previous = self.roles(name).previous
        if previous is None:
            raise ModelUnknown(f"{name!r} had no other champion yet; promote a version instead", field="model")
        return self.promote(name, previous)

    def try_out(self, name: str, candidate: Candidate | None) -> Roles:
        """Try out a version beside the champion, or none any more, and return the roles.

        Raises:
            ModelUnknown: There is no such version.
            VersionUnfit: It is the champion.
            ModelCorrupt: It is broken.
            StoreUnusable: The store cannot be written.
        """
        if candidate is not None:
            if candidate.revision == self.roles(name).champion:
                raise VersionUnfit(f"{candidate.revision[:12]} is the champion of {name!r} already", field="revision")
            self.open(name, candidate.revision)
        return self._change_roles(name, lambda roles: roles.try_out(candidate))

    def _change_roles(self, name: str, change: Callable[[Roles], Roles]) -> Roles:
        with writing(self.root), held(self.root / name):
            roles = change(self.roles(name))
            self._write_roles(name, roles)
        return roles

    def publish(
        self, draft: Path, make: Callable[[dict[str, object]], Manifest], *, promote: bool = True
    ) -> StoredModel:
        """Describe the files of a draft, write its manifest, move it to its place and make it the champion.

        If the same content is in the store already and whole, that stays as it is, with its lineage: two folders
        cannot change places in one step, and a moment without the model is worse than an older date.

        Args:
            draft: The folder that ``draft`` gave, with every file but the manifest.
            make: Given ``{"files": ...}``, returns the manifest.
            promote: Whether it becomes the champion. The first version of a model does so always.

        Raises:
            StoreUnusable: The store cannot be written, or the disk is full.
        """
        with writing(self.root):
            manifest = make({"files": describe_files(draft)})
            folder = self.root / check_name(manifest.name)
            with held(folder, create=True):
                before = self._find_roles(manifest.name)
                if before is not None and not promote:
                    self._write_roles(manifest.name, before)  # else the newest would be the champion
                self._place(draft, manifest)
                roles = before.promote(manifest.revision) if before else Roles(champion=manifest.revision)
                if promote or before is None:
                    self._write_roles(manifest.name, roles)
                target = folder / manifest.revision
                return StoredModel(read_manifest(target), target, is_current=promote or before is None)

    def _find_roles(self, name: str) -> Roles | None:
        """Return the roles, if there is a version that answers."""
        try:
            return self.roles(name)
        except (ModelUnknown, ModelCorrupt):
            return None  # publishing is what mends it

    def _place(self, draft: Path, manifest: Manifest) -> None:
        """Write a version's manifest and move it to its place, unless it is there already and whole."""
        target = self.root / manifest.name / manifest.revision
        (draft / FILE_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if not _is_whole(target):
            for path in [*draft.iterdir(), draft]:
                flush(path)
            if target.is_dir():
                self._bury(target)
            draft.rename(target)
            flush(target.parent)

    def _write_roles(self, name: str, roles: Roles) -> None:
        folder = self.root / name
        draft = folder / draft_name()
        with draft.open("x", encoding="ascii") as file:
            file.write(roles.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / ROLES)
        flush(folder)


def _served(found: Scan) -> tuple[StoredModel, ...]:
    """Return the whole versions if the first of them is the one to serve."""
    if found.obstacle is not None:
        raise found.obstacle
    return found.versions


def _roles(found: Scan) -> Roles:
    served = _served(found)[0]
    return found.roles or Roles(champion=served.revision)


def _without(found: Scan, doomed: Scan) -> Scan:
    gone = {each.path for each in doomed.entries}
    return Scan(
        found.name,
        tuple(stored for stored in found.versions if stored.path not in gone),
        tuple(defect for defect in found.defects if defect.path not in gone),
        found.roles,
    )


def _match(found: Scan, revision: str) -> StoredModel | Defect:
    """Return the one version, whole or broken, whose folder's name starts with ``revision``."""
    matching = [each for each in found.entries if each.revision is not None and each.revision.startswith(revision)]
    if len(matching) != 1:
        raise ModelUnknown(
            f"{len(matching)} versions of {found.name!r} start with {revision!r}; headrace models lists them",
            field="revision",
        )
    return matching[0]


def _is_whole(path: Path) -> bool:
    try:
        open_folder(path)
    except (ModelCorrupt, StoreUnusable):
        return False
    return True
