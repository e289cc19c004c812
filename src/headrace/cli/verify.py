"""``headrace models verify``: whether what lies in the store is what was stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import SHORT_REVISION, print_json, print_table
from headrace.cli.stored import RevisionFlag, complete_name, store_of
from headrace.errors import HeadraceError, ModelCorrupt
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from headrace.models.scan import Defect, Scan, StoredModel
    from headrace.models.store import LocalStore

NamesArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Name of a model; none: all of them.", autocompletion=complete_name, show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was found of one version, or of a model as a whole."""

    name: str
    revision: str | None
    error: HeadraceError | None

    def summary(self) -> dict[str, Any]:
        """Return it as an object."""
        told = {"code": self.error.code, "message": self.error.message} if self.error else {}
        return {"name": self.name, "revision": self.revision, "whole": self.error is None, **told}


@with_settings("store")
def verify(
    loaded: LoadedSettings, *, name: NamesArgument = None, revision: RevisionFlag = None, as_json: JsonFlag = False
) -> None:
    """Compare every file of the stored versions with its SHA-256; ends with 1 if one is broken."""
    if name is None and revision is not None:
        raise typer.BadParameter("name the model that it is a version of", param_hint="--revision")
    store = store_of(loaded.settings)
    scans = store.scan_all() if name is None else [store.select(name, revision)]
    found = [finding for scan in scans for finding in _check(store, scan)]
    if as_json:
        print_json([each.summary() for each in found])
    elif found:
        print_table(
            ["name", "revision", "files"],
            [
                [each.name, (each.revision or "-")[:SHORT_REVISION], each.error.message if each.error else "whole"]
                for each in found
            ],
        )
    broken = [each for each in found if each.error is not None]
    if broken:
        raise ModelCorrupt(f"{len(broken)} of {len(found)} are broken; import them again, or remove them")


def _check(store: "LocalStore", scan: "Scan") -> Iterator[_Finding]:
    for stored in scan.versions:
        yield _Finding(scan.name, stored.revision, _open(store, stored))
    yield from (_told(defect) for defect in scan.defects)


def _open(store: "LocalStore", stored: "StoredModel") -> HeadraceError | None:
    try:
        store.open(stored.manifest.name, stored.revision)
    except HeadraceError as error:
        return error
    return None


def _told(defect: "Defect") -> _Finding:
    return _Finding(defect.name, defect.revision, defect.error)
