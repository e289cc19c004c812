"""Versions of models in a bucket.

Layout below the address::

    <name>/<revision>/manifest.json     written last: a version without it is not there
    <name>/<revision>/files/<sha256>    its files
    <name>/roles.json                   which revision is pulled if none is named

An object of a file is named by its content, so that whoever writes it writes the same, and two that push one revision
with different cards at the same time cannot mix them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import ModelCorrupt, ModelUnknown, StoreUnreachable
from headrace.models.folder import ModelFolder, check_listing
from headrace.models.manifest import FILE_NAME, MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from headrace.models.names import check_name
from headrace.models.remote.s3 import PUSH_AGAIN, Bucket, SmallObject, Told
from headrace.models.roles import MAX_ROLES_BYTES, ROLES, Roles, parse_roles
from headrace.types import MODEL_NAME

_REVISION: Final = re.compile(r"[0-9a-f]{64}")
_FILES: Final = "files"
_ATTEMPTS: Final = 10  # each is lost only to another one that was won


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A version in the bucket, as its manifest says (its files are not looked at)."""

    manifest: Manifest
    is_current: bool

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return self.manifest.size_bytes


class RemoteStore:
    """Versions of models in a bucket; one of each model is its champion."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.address = bucket.address

    def versions(self) -> Iterator[RemoteVersion]:
        """Yield every version of every model, by name; one request for each, and those that are broken are left out.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        for name in sorted(filter(MODEL_NAME.fullmatch, self.bucket.folders())):
            try:
                roles = self.roles(name)
            except ModelCorrupt:
                roles = None
            for revision in self._revisions(name):
                manifest = self.find_whole(name, revision)
                if manifest is not None:
                    yield RemoteVersion(manifest, roles is not None and roles.champion == revision)

    def find(self, name: str, revision: str | None = None) -> Manifest:
        """Return what one version says of itself: the champion, or the one whose revision starts with ``revision``.

        Raises:
            NameInvalid: The name is outside the grammar.
            ModelUnknown: There is no such model, no such version, or more than one.
            ModelCorrupt: It is broken, or lists a file that leads outside its folder.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        check_name(name)
        if revision is not None:
            return self._match(name, revision)
        roles = self.roles(name)
        if roles is None:
            raise ModelUnknown(f"no model {name!r} in {self.address}; push it there", field="model")
        manifest = self._read_manifest(name, roles.champion)
        if manifest is None:
            where = self.address.spell(self.address.key(name, ROLES))
            raise ModelCorrupt(f"{where} names {roles.champion!r} as champion, and there is no such version; push it")
        return manifest

    def find_whole(self, name: str, revision: str) -> Manifest | None:
        """Return what a version says of itself if it is there and not broken; its files are not looked at.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        try:
            return self._read_manifest(name, revision)
        except ModelCorrupt:
            return None  # pushing it again is what mends it

    def roles(self, name: str) -> Roles | None:
        """Return which version is the champion, or nothing if there is none of that name.

        Raises:
            ModelCorrupt: It cannot be told.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        found = self.bucket.read(self.address.key(name, ROLES), MAX_ROLES_BYTES)
        return self._parse_roles(name, found) if found else None

    def promote(self, name: str, revision: str, *, over: bool) -> bool:
        """Make a version the champion, and tell whether that has changed anything.

        Args:
            name: The model.
            revision: The version, which is there.
            over: Whether also over another champion, and not only where there is none.

        Raises:
            StoreUnreachable: The server did not answer, or others did the same without end.
            StoreUnusable: It refused.
        """
        key = self.address.key(name, ROLES)
        for _ in range(_ATTEMPTS):
            found = self.bucket.read(key, MAX_ROLES_BYTES)
            roles = self._repaired_roles(name, found)
            if roles is not None and (roles.champion == revision or not over):
                return False
            wanted = roles.promote(revision) if roles else Roles(champion=revision)
            data = wanted.model_dump_json(indent=1).encode() + b"\n"
            if self.bucket.replace(key, data, found.etag if found else None):
                return True
        raise StoreUnreachable(f"{self.address.spell(key)} was changed by others {_ATTEMPTS} times; try again later")

    def missing_files(self, manifest: Manifest) -> dict[str, FileEntry]:
        """Return those files of a version that are not there as they should be.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        return {
            file: entry
            for file, entry in manifest.files.items()
            if not self.bucket.holds(self._file_key(manifest, entry), entry)
        }

    def add_file(self, folder: ModelFolder, file: str, told: Told) -> None:
        """Upload one file of a version.

        Raises:
            ModelCorrupt: It changed since the folder was opened.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        entry = folder.manifest.files[file]
        self.bucket.upload(self._file_key(folder.manifest, entry), folder.path / file, entry, told)

    def add_manifest(self, manifest: Manifest) -> None:
        """Make a version visible, whose files are there.

        Raises:
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
        """
        data = manifest.model_dump_json(indent=2).encode() + b"\n"
        self.bucket.write(self.address.key(manifest.name, manifest.revision, FILE_NAME), data)

    def fetch_file(self, manifest: Manifest, file: str, folder: Path, told: Told) -> None:
        """Download one file of a version into a folder.

        Raises:
            ModelCorrupt: It is missing, or not as the manifest says.
            StoreUnreachable: The server did not answer.
            StoreUnusable: It refused.
            OSError: It cannot be written.
        """
        entry = manifest.files[file]
        self.bucket.download(self._file_key(manifest, entry), entry, folder / file, told)

    def _revisions(self, name: str) -> list[str]:
        return sorted(filter(_REVISION.fullmatch, self.bucket.folders(name)))

    def _match(self, name: str, revision: str) -> Manifest:
        """Return the manifest of the one version whose revision starts with ``revision``; half-pushed ones are none."""
        matching = [revision] if _REVISION.fullmatch(revision) else self._revisions(name)
        found = [self._read_manifest(name, each) for each in matching if each.startswith(revision)]
        whole = [manifest for manifest in found if manifest is not None]
        if len(whole) != 1:
            raise ModelUnknown(
                f"{len(whole)} versions of {name!r} in {self.address} start with {revision!r};"
                " headrace models list --remote lists them",
                field="revision",
            )
        return whole[0]

    def _read_manifest(self, name: str, revision: str) -> Manifest | None:
        """Return the manifest of a version, which must be that of this place, or nothing if there is none."""
        key = self.address.key(name, revision, FILE_NAME)
        found = self.bucket.read(key, MAX_MANIFEST_BYTES)
        if found is None:
            return None
        where = self.address.spell(key)
        _require_small(found, MAX_MANIFEST_BYTES, where)
        manifest = parse_manifest(found.data, where, PUSH_AGAIN)
        if (manifest.name, manifest.revision) != (name, revision):
            raise ModelCorrupt(f"{where} is that of {manifest.name!r} {manifest.revision!r}; {PUSH_AGAIN}")
        check_listing(manifest, where, PUSH_AGAIN)
        return manifest

    def _parse_roles(self, name: str, found: SmallObject) -> Roles:
        where = self.address.spell(self.address.key(name, ROLES))
        _require_small(found, MAX_ROLES_BYTES, where)
        return parse_roles(found.data, where, "push the version that is to be the champion")

    def _repaired_roles(self, name: str, found: SmallObject | None) -> Roles | None:
        try:
            return self._parse_roles(name, found) if found else None
        except ModelCorrupt:
            return None  # promoting is what mends it

    def _file_key(self, manifest: Manifest, entry: FileEntry) -> str:
        return self.address.key(manifest.name, manifest.revision, _FILES, entry.sha256)


def _require_small(found: SmallObject, max_bytes: int, where: str) -> None:
    if len(found.data) > max_bytes:
        raise ModelCorrupt(f"{where} is larger than {max_bytes} bytes; {PUSH_AGAIN}")
