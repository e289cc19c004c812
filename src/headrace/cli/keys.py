"""``headrace keys``: who may call, and what they may do.

These commands work on the records themselves, so they need no server and no key. A server that reads the same records
follows within a second.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.holders import ALL, ModelFlag, ScopeFlag, TenantFlag, describe, read_scopes, shell_caller, show_time
from headrace.cli.output import echo, print_facts, print_json, print_table
from headrace.records.base import spell_change, spell_key
from headrace.settings import LoadedSettings, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from headrace.keyring import Keyring, NewKey
    from headrace.records.base import Key
    from headrace.types import Caller

R = TypeVar("R")

_HOUR_S: Final = 3600.0
_DAY_S: Final = 24 * _HOUR_S

keys_app = typer.Typer(no_args_is_help=True, help="API keys: who may call, and what they may do.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="What headrace keys list shows of the key.")]
DaysFlag = Annotated[
    float | None, typer.Option("--days", help="Days until it ends; by default never.", show_default=False)
]
GraceFlag = Annotated[float, typer.Option("--grace-hours", help="Hours for which the key before is still good.")]
LimitFlag = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyArguments:
    """What a key shall be for."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call its holder.")]
    scope: ScopeFlag = None
    model: ModelFlag = None
    tenant: TenantFlag = ""
    days: DaysFlag = None
    as_json: JsonFlag = False


@keys_app.command()
@with_settings("store", "records")
def create(loaded: LoadedSettings, asked: KeyArguments) -> None:
    """Make a key, and show it: now, and never again.

    With the first key the server asks everybody for one, also on this machine.
    """
    from headrace.keyring import Wanted  # noqa: PLC0415 - loads NumPy, which --help needs not

    wanted = Wanted(
        name=asked.name,
        scopes=read_scopes(asked.scope or ["infer"]),
        models=frozenset(asked.model) if asked.model else None,
        tenant=asked.tenant,
        lasts_s=None if asked.days is None else asked.days * _DAY_S,
    )
    _tell_new(_do(loaded, lambda keyring, caller: keyring.create(caller, wanted)), as_json=asked.as_json)


@keys_app.command("list")
@with_settings("store", "records")
def list_(loaded: LoadedSettings, *, as_json: JsonFlag = False) -> None:
    """List all keys, in the order in which they were made."""
    keys = _do(loaded, lambda keyring, caller: keyring.list_keys(caller, after=None, limit=ALL))
    if as_json:
        print_json([spell_key(key) for key in keys])
        return
    header = ("id", "name", "tenant", "scopes", "models", "made", "ends")
    if keys:
        print_table(header, [[key.id, key.name, key.tenant, *_describe(key).values()] for key in keys])
    else:
        typer.echo("no key was made yet; make one: headrace keys create NAME --scope infer", err=True)


@keys_app.command()
@with_settings("store", "records")
def rotate(
    loaded: LoadedSettings, *, key_id: IdArgument, grace_hours: GraceFlag = 0.0, as_json: JsonFlag = False
) -> None:
    """Make a key that may do the same as another one, and end that one."""
    grace_s = grace_hours * _HOUR_S
    _tell_new(_do(loaded, lambda keyring, caller: keyring.rotate(caller, key_id, grace_s)), as_json=as_json)


@keys_app.command()
@with_settings("store", "records")
def revoke(loaded: LoadedSettings, *, key_id: IdArgument, as_json: JsonFlag = False) -> None:
    """End a key now."""
    key = _do(loaded, lambda keyring, caller: keyring.revoke(caller, key_id))
    if as_json:
        print_json(spell_key(key))
    else:
        print_facts({"revoked": key.id, "name": key.name, **_describe(key)})


@keys_app.command()
@with_settings("store", "records")
def changes(loaded: LoadedSettings, *, limit: LimitFlag = 50, as_json: JsonFlag = False) -> None:
    """List who changed what: keys, and which version of a model answers; the latest first."""
    found = _do(loaded, lambda keyring, caller: keyring.changes(caller, before=None, limit=limit))
    if as_json:
        print_json([spell_change(change) for change in found])
    elif found:
        rows = [[show_time(each.at), each.caller, each.tenant, each.action, each.subject] for each in found]
        print_table(("at", "caller", "tenant", "action", "subject"), rows)
    else:
        typer.echo("nothing was changed yet", err=True)


def _do(loaded: LoadedSettings, work: "Callable[[Keyring, Caller], Awaitable[R]]") -> R:
    """Do something with the keys as the user who runs this."""

    async def run() -> R:
        async with _opened(loaded.settings) as keyring:
            return await work(keyring, shell_caller())

    return asyncio.run(run())


@asynccontextmanager
async def _opened(settings: Settings) -> "AsyncIterator[Keyring]":
    from headrace.adapters import open_keyring, open_records  # noqa: PLC0415 - loads NumPy, which --help needs not
    from headrace.auth.keys import KeyGuard  # noqa: PLC0415 - as above
    from headrace.auth.standing import Standing  # noqa: PLC0415 - as above

    async with open_keyring(settings, open_records(settings), KeyGuard(()), Standing()) as keyring:
        yield keyring


def _tell_new(made: "NewKey", *, as_json: bool) -> None:
    if as_json:
        print_json({**spell_key(made.key), "key": made.text})
        return
    print_facts({"id": made.key.id, "name": made.key.name, **_describe(made.key)})
    echo(f"\n{made.text}\n")
    typer.echo("this is the key; it is not kept, and cannot be shown again", err=True)


def _describe(key: "Key") -> dict[str, str]:
    return {**describe(key), "ends": _show_end(key)}


def _show_end(key: "Key") -> str:
    if key.ends_at is None:
        return "never"
    return f"{show_time(key.ends_at)}{', is over' if key.ends_at <= datetime.now(UTC) else ''}"
