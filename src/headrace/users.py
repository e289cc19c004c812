"""Makes, shows and removes users, and gives them other passwords.

The rules are those of keys: nobody can give more than they have, and to set somebody's password is to be given all that
they may do.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from headrace.auth.base import is_over, require
from headrace.auth.giving import require_within, settle_powers
from headrace.errors import GrantUnsupported, RequestInvalid, UserTaken, UserUnknown
from headrace.records.accounts import Accounts, User
from headrace.records.base import Change
from headrace.records.journal import change_by
from headrace.types import Caller, Scope

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?")
"""What a user may be called; an address of mail is such a name."""
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUser:
    """What a user shall be; ``None`` for what their maker has."""

    name: str
    password: str = field(repr=False)
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    tenant: str | None = None


class Verifiers(Protocol):
    """Makes what passwords are compared with."""

    async def make_verifier(self, password: str) -> str:
        """Return it.

        Raises:
            RequestInvalid: The password is too short or too long.
            QueueFull: Too many passwords are being looked at.
        """
        ...


class UsersOff:
    """In place of what looks at passwords, where nobody could log in with one."""

    async def make_verifier(self, password: str) -> str:  # noqa: ARG002 - as it is called
        """Refuse.

        Raises:
            GrantUnsupported: Always.
        """
        raise GrantUnsupported(
            "this server issues no tokens, so its users could not log in; let auth.signing_keys name a file of private"
            " keys (headrace signing-keys create FILE)"
        )


class Users:
    """The users that are kept.

    Args:
        accounts: Where.
        passwords: Makes what is kept of a password.
        settle: Lets this replica know at once what was written.
    """

    def __init__(self, accounts: Accounts, passwords: Verifiers, settle: Callable[[], Awaitable[None]]) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._settle = settle

    async def list_users(self, caller: Caller, *, after: str | None, limit: int) -> list[User]:
        """Return users in the order in which they were made; of the caller's tenant, or all.

        Args:
            caller: Who asks; an ``admin`` of no tenant sees those of all tenants.
            after: Name of the user before the first.
            limit: At most so many.

        Raises:
            AccessDenied: The caller may not see them.
            UserUnknown: There is no user ``after``.
            RecordsUnusable: They cannot be read.
        """
        users = await self._visible(caller)
        start = 0 if after is None else users.index(_find(users, after)) + 1
        return users[start : start + limit]

    async def show(self, caller: Caller, name: str) -> User:
        """Return a user; raises as ``list_users``."""
        return _find(await self._visible(caller), name)

    async def create(self, caller: Caller, wanted: WantedUser) -> User:
        """Make a user.

        Raises:
            AccessDenied: The caller may make none, or none that may do so much.
            RequestInvalid: They cannot be made like that; ``field`` says what is wrong.
            UserTaken: There is a user of that name.
            QueueFull: Too many passwords are being looked at.
            RecordsUnusable: They cannot be kept.
        """
        require(caller, Scope.KEYS)
        if not NAME.fullmatch(wanted.name):
            raise RequestInvalid(
                f"the name {wanted.name[:80]!r} is none of at most 64 small letters, digits and . _ @ + -", field="name"
            )
        powers = settle_powers(caller, wanted)
        require_within(caller, powers)
        if any(user.name == wanted.name for user in await asyncio.to_thread(self._accounts.list_users)):
            raise UserTaken(f"there is a user {wanted.name!r}; choose another name", field="name")
        user = User(
            id=secrets.token_hex(_ID_BYTES),
            name=wanted.name,
            verifier=await self._passwords.make_verifier(wanted.password),
            tenant=powers.tenant,
            scopes=powers.scopes,
            models=powers.models,
            created_at=datetime.now(UTC),
        )
        await self._write(partial(self._accounts.write_users, _by(caller, "user.created", user), added=[user]))
        return user

    async def set_password(self, caller: Caller, name: str, password: str) -> User:
        """Give a user another password; what they got for the one before ends.

        Raises:
            AccessDenied: The caller may not, or the user may do more than the caller.
            UserUnknown: There is no such user.
            RequestInvalid: It is too short or too long.
            QueueFull: Too many passwords are being looked at.
            RecordsUnusable: It cannot be kept.
        """
        user = await self.show(caller, name)
        require_within(caller, user)
        verifier = await self._passwords.make_verifier(password)
        change = _by(caller, "user.password", user)
        await self._write(partial(self._accounts.write_users, change, verifiers={user.id: verifier}))
        return user

    async def remove(self, caller: Caller, name: str) -> User:
        """End a user, and all tokens that they have; raises as ``list_users``."""
        user = await self.show(caller, name)
        change = _by(caller, "user.removed", user)
        await self._write(partial(self._accounts.write_users, change, removed=[user.id]))
        return user

    async def _visible(self, caller: Caller) -> list[User]:
        require(caller, Scope.KEYS)
        users = await asyncio.to_thread(self._accounts.list_users)
        return [user for user in users if is_over(caller, user.tenant)]

    async def _write(self, write: Callable[[], None]) -> None:
        await asyncio.to_thread(write)
        await self._settle()


def _by(caller: Caller, action: str, user: User) -> Change:
    return change_by(caller, action, user.name)


def _find(users: Iterable[User], name: str) -> User:
    for user in users:
        if user.name == name:
            return user
    raise UserUnknown(
        f"no user is called {name[:80]!r}; list them with GET /api/v1/users or headrace users", field="name"
    )
