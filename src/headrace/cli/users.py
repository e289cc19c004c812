"""``headrace users``: people who log in with a name and a password.

As with keys, these commands work on the records themselves; a server that reads the same records follows within a
second.
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.holders import ALL, ModelFlag, ScopeFlag, TenantFlag, describe, read_scopes, shell_caller
from headrace.cli.output import print_facts, print_json, print_table
from headrace.errors import RequestInvalid
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.records.accounts import User
    from headrace.types import Caller
    from headrace.users import Users

R = TypeVar("R")

_MOST_TYPED: Final = 1024  # characters of a line; a password has fewer

users_app = typer.Typer(no_args_is_help=True, help="Users: who logs in with a name and a password.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="By which they log in.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserArguments:
    """What a user shall be."""

    name: NameArgument
    scope: ScopeFlag = None
    model: ModelFlag = None
    tenant: TenantFlag = ""
    as_json: JsonFlag = False


@users_app.command()
@with_settings("store", "records")
def create(loaded: LoadedSettings, asked: UserArguments) -> None:
    """Make a user; the password is asked for, or is the first line of standard input."""
    from headrace.users import WantedUser  # noqa: PLC0415 - loads NumPy, which --help needs not

    wanted = WantedUser(
        name=asked.name,
        password=_read_password(),
        scopes=read_scopes(asked.scope or ["infer"]),
        models=frozenset(asked.model) if asked.model else None,
        tenant=asked.tenant,
    )
    _tell("made", _do(loaded, lambda users, caller: users.create(caller, wanted)), as_json=asked.as_json)


@users_app.command("list")
@with_settings("store", "records")
def list_(loaded: LoadedSettings, *, as_json: JsonFlag = False) -> None:
    """List all users, in the order in which they were made."""
    from headrace.records.accounts import spell_user  # noqa: PLC0415 - as above

    users = _do(loaded, lambda users, caller: users.list_users(caller, after=None, limit=ALL))
    if as_json:
        print_json([spell_user(user) for user in users])
    elif users:
        rows = [[user.name, user.tenant, *describe(user).values()] for user in users]
        print_table(("name", "tenant", "scopes", "models", "made"), rows)
    else:
        typer.echo("no user was made yet; make one: headrace users create NAME --scope infer", err=True)


@users_app.command()
@with_settings("store", "records")
def password(loaded: LoadedSettings, *, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Give a user another password, asked for as for a new one; where they are logged in ends."""
    given = _read_password()
    _tell("changed", _do(loaded, lambda users, caller: users.set_password(caller, name, given)), as_json=as_json)


@users_app.command()
@with_settings("store", "records")
def remove(loaded: LoadedSettings, *, name: NameArgument, as_json: JsonFlag = False) -> None:
    """End a user, and all tokens that they have."""
    _tell("removed", _do(loaded, lambda users, caller: users.remove(caller, name)), as_json=as_json)


def _do(loaded: LoadedSettings, work: "Callable[[Users, Caller], Awaitable[R]]") -> R:
    """Do something with the users as the user of the machine who runs this."""
    from headrace.adapters import make_passwords, open_records  # noqa: PLC0415 - loads NumPy, which --help needs not
    from headrace.users import Users  # noqa: PLC0415 - as above

    async def settle() -> None:
        """No server runs here."""

    async def run() -> R:
        records = open_records(loaded.settings)
        try:
            return await work(Users(records, make_passwords(), settle), shell_caller())
        finally:
            await asyncio.to_thread(records.close)

    return asyncio.run(run())


def _read_password() -> str:
    """Return the password: typed twice unseen on a terminal, else the first line of standard input."""
    if _is_terminal():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    line = "" if sys.stdin is None else sys.stdin.readline(_MOST_TYPED)
    if not line:
        raise RequestInvalid("no password came on standard input; type one, or send one line", field="password")
    return line.rstrip("\r\n")


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _tell(done: str, user: "User", *, as_json: bool) -> None:
    from headrace.records.accounts import spell_user  # noqa: PLC0415 - as above

    if as_json:
        print_json(spell_user(user))
    else:
        print_facts({done: user.name, **{name: shown for name, shown in describe(user).items() if name != "made"}})
