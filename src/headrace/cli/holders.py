"""What commands about keys and about users share: how a holder is asked for and shown, and who asks."""

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from headrace.records.accounts import User
    from headrace.records.base import Key
    from headrace.types import Caller

ALL: Final = 1_000_000
"""More keys, and more users, than anybody has."""

ScopeFlag = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="What may be done with it; by default infer.", show_default=False),
]
ModelFlag = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="A model it may be used for; by default all.", show_default=False),
]
TenantFlag = Annotated[str, typer.Option("--tenant", help="Whose it is, where there are several.", show_default=False)]


def shell_caller() -> "Caller":
    """Return who runs a command: whoever may write the records may do everything."""
    from headrace.types import Caller, Scope  # noqa: PLC0415 - loads NumPy, which --help needs not

    return Caller(f"shell:{_user()}", frozenset(Scope))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return "unknown"


def read_scopes(names: list[str]) -> Any:
    """Return scopes by their names; raises ``SettingInvalid`` where there is none."""
    from headrace.errors import SettingInvalid  # noqa: PLC0415 - as above
    from headrace.types import Scope  # noqa: PLC0415 - as above

    known = {str(scope): scope for scope in Scope}
    for name in names:
        if name not in known:
            raise SettingInvalid(f"--scope cannot be {name[:80]!r}; there are {', '.join(known)}", field="scope")
    return frozenset(known[name] for name in names)


def describe(holder: "Key | User") -> dict[str, str]:
    """Return what a holder may do, and since when."""
    return {
        "scopes": " ".join(sorted(holder.scopes)),
        "models": "all" if holder.models is None else " ".join(sorted(holder.models)),
        "made": show_time(holder.created_at),
    }


def show_time(moment: datetime) -> str:
    """Return a time as people read it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
