"""A store in memory: versions and their roles, without files."""

from collections.abc import Sequence
from pathlib import Path

from headrace.engine.registry import Registry
from headrace.errors import ModelCorrupt, ModelUnknown
from headrace.models.folder import ModelFolder
from headrace.models.manifest import Manifest
from headrace.models.roles import Candidate, Roles


class Shelf:
    """What a rollout knows of a store.

    Args:
        registry: Its models are there, as champions.
        more: Other versions of them.

    Attributes:
        broken: Revisions of versions whose files are not as they were written.
    """

    def __init__(self, registry: Registry, more: Sequence[Manifest] = ()) -> None:
        manifests = [model.manifest for model in registry]
        self.chosen = {manifest.name: Roles(champion=manifest.revision) for manifest in manifests}
        self.versions = {manifest.revision: manifest for manifest in (*manifests, *more)}
        self.broken: set[str] = set()
        self.fails: Exception | None = None

    def roles(self, name: str) -> Roles:
        self._fail()
        return self.chosen[name]

    def mark(self, name: str) -> object:
        self._fail()
        return self.chosen[name], tuple(self.broken)

    def open(self, name: str, revision: str | None = None) -> ModelFolder:
        self._fail()
        revision = self.chosen[name].champion if revision is None else revision
        found = [manifest for key, manifest in self.versions.items() if key.startswith(revision)]
        if len(found) != 1 or found[0].name != name:
            raise ModelUnknown(f"{len(found)} versions of {name!r} start with {revision!r}", field="revision")
        if found[0].revision in self.broken:
            raise ModelCorrupt("a file has another SHA-256 than its manifest says; import the model again")
        return ModelFolder(Path("shelf"), found[0])

    def promote(self, name: str, revision: str) -> Roles:
        return self._change(name, self.roles(name).promote(self.open(name, revision).manifest.revision))

    def try_out(self, name: str, candidate: Candidate | None) -> Roles:
        return self._change(name, self.roles(name).try_out(candidate))

    def _change(self, name: str, roles: Roles) -> Roles:
        self.chosen[name] = roles
        return roles

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails
