"""Pushes versions from a store of this machine to a bucket, and pulls them from there.

Either way a version is there whole or not at all, also when the process is killed: its manifest is written last, and
what is pulled is built in a draft of the store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from headrace.errors import ModelCorrupt, ModelUnknown
from headrace.models.disk import reading, writing
from headrace.models.folder import ModelFolder, open_folder
from headrace.models.manifest import Manifest, hold_to
from headrace.models.remote.store import RemoteStore
from headrace.models.sources.base import Progress
from headrace.models.store import LocalStore, StoredModel


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push has done.

    Attributes:
        manifest: As it lies in the bucket.
        is_new: Whether something had to be uploaded.
        is_promoted: Whether it was made the champion of the bucket, and was not before.
    """

    manifest: Manifest
    is_new: bool
    is_promoted: bool


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull has done; ``is_new`` says whether something had to be downloaded."""

    stored: StoredModel
    is_new: bool


def push(store: LocalStore, remote: RemoteStore, progress: Progress, name: str, revision: str | None = None) -> Pushed:
    """Upload one version, unless it is there already and whole.

    It becomes the champion of the bucket if it is that of the store, or if the bucket has none of the model yet.

    Args:
        store: Has it.
        remote: Gets it.
        progress: Hears of the steps.
        name: The model.
        revision: What its revision starts with; by default the champion.

    Raises:
        ModelUnknown: The store has no such version.
        ModelCorrupt: It is broken.
        StoreUnreachable: The server did not answer.
        StoreUnusable: It refused, or the store cannot be read.
    """
    with progress.step(f"Checking {name}"):
        folder = store.open(name, revision)
        present = _find_whole(remote, folder.manifest)
    if present is None:
        _upload(folder, remote, progress)
    about = folder.manifest
    is_promoted = remote.promote(name, about.revision, over=_is_champion(store, about))
    return Pushed(present or about, present is None, is_promoted)


def pull(
    store: LocalStore,
    remote: RemoteStore,
    progress: Progress,
    name: str,
    revision: str | None = None,
    *,
    promote: bool = True,
) -> Pulled:
    """Download one version into the store, unless it is there already and whole.

    Args:
        store: Gets it.
        remote: Has it.
        progress: Hears of the steps.
        name: The model.
        revision: What its revision starts with; by default the champion of the bucket.
        promote: Whether it becomes the champion of the store. The first version of a model does so always.

    Raises:
        ModelUnknown: The bucket has no such version.
        ModelCorrupt: A file in the bucket is missing, or not as the manifest says.
        StoreUnreachable: The server did not answer.
        StoreUnusable: It refused, the store cannot be written, or the disk is full.
    """
    with progress.step(f"Looking for {name} in {remote.address}"):
        manifest = remote.find(name, revision)
        present = _find_stored(store, manifest, promote=promote)
    if present is not None:
        return Pulled(present, is_new=False)
    with store.draft() as draft:
        with progress.step(f"Downloading {name} {manifest.revision[:12]}"), writing(draft):
            told = _counter(progress, manifest.size_bytes)
            for file in manifest.files:
                remote.fetch_file(manifest, file, draft, told)
        with progress.step("Registering the model"):
            return Pulled(store.publish(draft, partial(hold_to, manifest), promote=promote), is_new=True)


def _find_whole(remote: RemoteStore, about: Manifest) -> Manifest | None:
    """Return the manifest of the same version in the bucket if all its files are there; its card may be another."""
    present = remote.find_whole(about.name, about.revision)
    return None if present is None or remote.missing_files(present) else present


def _upload(folder: ModelFolder, remote: RemoteStore, progress: Progress) -> None:
    about = folder.manifest
    missing = remote.missing_files(about)
    told = _counter(progress, sum(entry.size_bytes for entry in missing.values()))
    with progress.step(f"Uploading {about.name} {about.revision[:12]} to {remote.address}"), reading(folder.path):
        for file in missing:
            remote.add_file(folder, file, told)
        remote.add_manifest(about)


def _is_champion(store: LocalStore, about: Manifest) -> bool:
    try:
        return store.roles(about.name).champion == about.revision
    except ModelCorrupt:
        return False  # another version is the champion, and is broken


def _find_stored(store: LocalStore, manifest: Manifest, *, promote: bool) -> StoredModel | None:
    """Return the same version in the store if it is whole, as the champion if it should be that."""
    try:
        open_folder(store.find(manifest.name, manifest.revision).path)
        if promote and store.roles(manifest.name).champion != manifest.revision:
            store.promote(manifest.name, manifest.revision)
        return store.find(manifest.name, manifest.revision)
    except (ModelUnknown, ModelCorrupt):
        return None  # pulling is what mends it


def _counter(progress: Progress, total_bytes: int) -> Callable[[int], None]:
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress.transferred(done, total_bytes)

    return told
