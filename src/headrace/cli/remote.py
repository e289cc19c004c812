"""``headrace models push`` and ``pull``: versions between the store and a bucket."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.failures import end_on_sigterm
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import SHORT_REVISION, echo, format_size, print_json
from headrace.cli.stored import NoPromoteFlag, complete_name, store_of
from headrace.errors import NameInvalid
from headrace.models.remote.address import parse_address
from headrace.settings import LoadedSettings, Settings

if TYPE_CHECKING:
    from headrace.models.manifest import Manifest
    from headrace.models.remote.store import RemoteStore

VersionArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@REVISION]",
        help="Name of the model; its champion, or the version whose revision starts with REVISION.",
        autocompletion=complete_name,
    ),
]
ToFlag = Annotated[
    str | None, typer.Option("--to", help="Where to, instead of store.remote: s3://BUCKET/PREFIX.", show_default=False)
]
FromFlag = Annotated[
    str | None,
    typer.Option("--from", help="Where from, instead of store.remote: s3://BUCKET/PREFIX.", show_default=False),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullArguments:
    """What ``headrace models pull`` is called with."""

    version: VersionArgument
    from_: FromFlag = None
    no_promote: NoPromoteFlag = False
    as_json: JsonFlag = False


@with_settings("store")
def push(loaded: LoadedSettings, *, version: VersionArgument, to: ToFlag = None, as_json: JsonFlag = False) -> None:
    """Upload a version to a bucket, unless it is there already; the champion becomes the champion there."""
    from headrace.cli.progress import steps  # noqa: PLC0415 - loads rich

    name, revision = _split(version)
    remote = remote_of(loaded.settings, to)
    from headrace.models.remote import transfer  # noqa: PLC0415 - loads boto3

    end_on_sigterm()
    pushed = transfer.push(store_of(loaded.settings), remote, steps(as_json=as_json), name, revision)
    about = pushed.manifest
    if as_json:
        print_json({**_summary(about, remote), "uploaded": pushed.is_new, "promoted": pushed.is_promoted})
        return
    echo(f"pushed {_spell(about)} to {remote.address}" if pushed.is_new else f"{_spell(about)} is there already, whole")
    if pushed.is_promoted:
        echo(f"it is the champion of {name} in {remote.address} now")


@with_settings("store")
def pull(loaded: LoadedSettings, asked: PullArguments) -> None:
    """Download a version from a bucket into the store, unless it is there already, and let it answer."""
    from headrace.cli.progress import steps  # noqa: PLC0415 - loads rich

    name, revision = _split(asked.version)
    remote = remote_of(loaded.settings, asked.from_)
    from headrace.models.remote import transfer  # noqa: PLC0415 - loads boto3

    end_on_sigterm()
    store, progress = store_of(loaded.settings), steps(as_json=asked.as_json)
    pulled = transfer.pull(store, remote, progress, name, revision, promote=not asked.no_promote)
    stored = pulled.stored
    if asked.as_json:
        place = {"path": str(stored.path), "current": stored.is_current}
        print_json({**_summary(stored.manifest, remote), **place, "downloaded": pulled.is_new})
        return
    spelled = _spell(stored.manifest)
    echo(f"pulled {spelled} from {remote.address}" if pulled.is_new else f"{spelled} is in the store already, whole")
    if stored.is_current:
        echo(f"next: headrace serve {shlex.quote(name)}")


def remote_of(settings: Settings, address: str | None = None) -> "RemoteStore":
    """Return the remote store, which nothing is asked of yet.

    Args:
        settings: Name it.
        address: Names another one.

    Raises:
        SettingInvalid: It has no address, or a wrong one.
        DependencyMissing: The extra ``s3`` is not installed.
        StoreUnusable: The configuration of AWS is broken.
    """
    parsed = parse_address(address or settings.store.remote)
    from headrace.models.remote.s3 import Bucket  # noqa: PLC0415 - loads boto3
    from headrace.models.remote.store import RemoteStore  # noqa: PLC0415 - loads boto3

    return RemoteStore(Bucket(parsed))


def _split(version: str) -> tuple[str, str | None]:
    name, at, revision = version.partition("@")
    if at and not revision:
        raise NameInvalid(f"{version!r} names no revision after the '@'; give its first digits, or leave the '@' out")
    return name, revision or None


def _summary(about: "Manifest", remote: "RemoteStore") -> dict[str, Any]:
    return {
        "name": about.name,
        "revision": about.revision,
        "size_bytes": about.size_bytes,
        "remote": str(remote.address),
    }


def _spell(about: "Manifest") -> str:
    return f"{about.name} {about.revision[:SHORT_REVISION]} ({format_size(about.size_bytes)})"
