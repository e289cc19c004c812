"""``headrace models``: the models in the store."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.cli.failures import one_line
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import SHORT_REVISION, echo, format_size, print_facts, print_json, print_table
from headrace.cli.remote import pull, push, remote_of
from headrace.cli.stored import EXAMPLE_IMPORT, NameArgument, RevisionFlag, store_of, warn_of_defects
from headrace.cli.verify import verify
from headrace.cli.versions import canary, promote, retire, rollback, shadow
from headrace.settings import LoadedSettings, Settings

if TYPE_CHECKING:
    from headrace.models.remote.store import RemoteVersion
    from headrace.models.scan import Defect, Scan
    from headrace.models.store import StoredModel


RemoteFlag = Annotated[
    bool, typer.Option("--remote", help="List what is in store.remote instead, one request for each.")
]


class _ListByDefault(TyperGroup):
    """``headrace models`` and ``headrace models --json`` mean ``headrace models list ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` before the arguments that name no sub-command."""
        is_bare = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if is_bare else args)


models_app = typer.Typer(cls=_ListByDefault, help="The models in the store, and which of their versions answer.")
for _command in (promote, rollback, canary, shadow, retire, push, pull, verify):
    models_app.command()(_command)


@models_app.command("list")
@with_settings("store")
def list_(loaded: LoadedSettings, *, in_remote: RemoteFlag = False, as_json: JsonFlag = False) -> None:
    """List every version of every model; this is what `headrace models` alone does.

    Broken versions are named on standard error, with what is wrong.
    """
    if in_remote:
        _list_remote(loaded.settings, as_json=as_json)
        return
    store = store_of(loaded.settings)
    scans = store.scan_all()
    warn_of_defects(scans, as_json=as_json)
    found = [(stored, scan.describe_role(stored)) for scan in scans for stored in scan.versions]
    _print_versions(found, as_json=as_json)
    if not scans and not as_json:
        typer.echo(f"no model in {store.root}; import one: {EXAMPLE_IMPORT}", err=True)


@models_app.command()
@with_settings("store")
def show(
    loaded: LoadedSettings, *, name: NameArgument, revision: RevisionFlag = None, as_json: JsonFlag = False
) -> None:
    """Show one model: what it is, where it came from, how it passed the gate."""
    stored = store_of(loaded.settings).find(name, revision)
    if as_json:
        print_json({**stored.manifest.model_dump(mode="json"), "path": str(stored.path), "current": stored.is_current})
        return
    print_facts(_facts(stored))
    echo()
    print_gate(stored)


@models_app.command()
@with_settings("store")
def remove(
    loaded: LoadedSettings,
    *,
    name: NameArgument,
    revision: RevisionFlag = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove a model, or one version of it; broken ones too."""
    store = store_of(loaded.settings)
    if not yes:
        _confirm(store.select(name, revision))
    removed = store.remove(name, revision)
    if as_json:
        print_json([*map(_summary, removed.versions), *map(_defect_summary, removed.defects)])
        return
    for line in _spell_all(removed):
        echo(f"removed {line}")


def print_gate(stored: "StoredModel") -> None:
    """Print the accuracy gate's figures."""
    gate = stored.manifest.gate
    echo(
        f"gate: {'passed' if gate.passed else 'failed'} on {gate.texts} texts "
        f"(needs cosine >= {gate.min_cosine_required:g}, difference <= {gate.max_difference_allowed:g})"
    )
    print_table(
        ["output", "min cosine", "mean cosine", "max difference"],
        [
            [each.name, f"{each.min_cosine:.7f}", f"{each.mean_cosine:.7f}", f"{each.max_difference:.2e}"]
            for each in gate.outputs
        ],
    )


def _list_remote(settings: Settings, *, as_json: bool) -> None:
    remote = remote_of(settings)
    found = [(version, "champion" if version.is_current else "") for version in remote.versions()]
    _print_versions(found, as_json=as_json)
    if not found and not as_json:
        typer.echo(f"no model in {remote.address}; push one: headrace models push NAME", err=True)


def _print_versions(found: "Sequence[tuple[StoredModel | RemoteVersion, str]]", *, as_json: bool) -> None:
    if as_json:
        print_json([{**_summary(version), "role": role} for version, role in found])
    elif found:
        print_table(
            ["name", "revision", "role", "task", "dimensions", "max tokens", "size"],
            [_row(version, role) for version, role in found],
        )


def _confirm(doomed: "Scan") -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at; pass --yes to remove without a question")
    for line in _spell_all(doomed):
        typer.echo(f"will remove {line}", err=True)
    typer.confirm("Remove?", abort=True, err=True)


def _spell_all(found: "Scan") -> Iterator[str]:
    for stored in found.versions:
        yield f"{found.name} {stored.revision[:SHORT_REVISION]} ({format_size(stored.size_bytes)})"
    for defect in found.defects:
        yield f"{found.name} {one_line((defect.revision or defect.path.name)[:SHORT_REVISION])} (broken)"


def _row(stored: "StoredModel | RemoteVersion", role: str) -> list[str]:
    about = stored.manifest
    return [
        about.name,
        about.revision[:SHORT_REVISION],
        role,
        about.task,
        str(about.dimensions),
        str(about.max_tokens),
        format_size(stored.size_bytes),
    ]


def _summary(stored: "StoredModel | RemoteVersion") -> dict[str, Any]:
    about = stored.manifest
    return {
        "name": about.name,
        "revision": about.revision,
        "current": stored.is_current,
        "task": about.task,
        "dimensions": about.dimensions,
        "labels": about.labels,
        "mask": about.mask,
        "max_tokens": about.max_tokens,
        "size_bytes": stored.size_bytes,
        "source": about.lineage.source,
    }


def _defect_summary(defect: "Defect") -> dict[str, Any]:
    return {
        "name": defect.name,
        "revision": defect.revision,
        "current": defect.is_current,
        "code": defect.error.code,
        "message": defect.error.message,
    }


def _facts(stored: "StoredModel") -> dict[str, str]:
    about = stored.manifest
    return {
        "name": about.name,
        "revision": about.revision + (" (current)" if stored.is_current else ""),
        "task": about.task,
        "precision": about.precision,
        "dimensions": str(about.dimensions),
        **({"labels": ", ".join(about.labels)} if about.labels else {}),
        **({"mask": about.mask} if about.mask else {}),
        **({"prompts": ", ".join(about.prompts)} if about.prompts else {}),
        "max tokens": str(about.max_tokens),
        "pooling": about.pooling + (", normalized" if about.normalize else ""),
        "size": format_size(stored.size_bytes),
        "source": about.lineage.source,
        "architecture": about.lineage.architecture,
        "license": about.lineage.license or "unknown",
        "created": about.lineage.created_at,
        "path": str(stored.path),
    }
