"""The port of users, of their logins, and of tokens that were revoked; and what is kept of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from headrace.records.base import Change, Records, spell_time
from headrace.types import Scope

LONGEST_TOKEN: Final = timedelta(minutes=15)
"""For which an access token may last: so long it is remembered that one was revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a name and a password.

    Attributes:
        id: Never given to another one, also when the name is.
        name: By which they log in; no two have the same.
        verifier: What a password is compared with, as argon2 writes it.
        tenant: Whose user it is; empty where there is only one.
        scopes: What they may do.
        models: Names of the models they may use; ``None`` for all.
        created_at: When they were made.
    """

    id: str
    name: str
    verifier: str = field(repr=False)
    tenant: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a user got for a password, once: refresh tokens, of which one is good at a time.

    Attributes:
        id: Access tokens that come of it name it.
        root: SHA-256 of what its refresh tokens have in common, 32 bytes.
        digest: SHA-256 of the one that is good, 32 bytes.
        user_id: Whose it is.
        scopes: What may be done with its tokens.
        begun_at: When the password was shown.
        ends_at: From when on none is good.
    """

    id: str
    root: bytes
    digest: bytes
    user_id: str
    scopes: frozenset[Scope]
    begun_at: datetime
    ends_at: datetime


class Accounts(Protocol):
    """Keeps users, logins and what was revoked. All methods wait for a disk or a network, as those of records.

    The mark of the records is another one whenever a user was changed or a token revoked; a login does not change it.
    """

    def list_users(self) -> list[User]:
        """Return all users, in the order in which they were made.

        Raises:
            RecordsUnusable: They cannot be read.
        """
        ...

    def list_revoked(self) -> frozenset[str]:
        """Return the ids of tokens and logins that were revoked, of which access tokens may last; raises as above."""
        ...

    def write_users(
        self,
        change: Change,
        *,
        added: Sequence[User] = (),
        verifiers: Mapping[str, str] | None = None,
        removed: Collection[str] = (),
    ) -> None:
        """Keep a change of users, or nothing of it.

        Args:
            change: Who does it.
            added: New users.
            verifiers: By the id of a user, what their new password is compared with; their logins end.
            removed: Ids of users, who end with their logins.

        Raises:
            RecordsUnusable: It cannot be written, or a new one has the name of another; nothing was changed.
        """
        ...

    def revoke(self, change: Change, ids: Collection[str]) -> None:
        """Revoke tokens, and logins with all their tokens, by their ids; raises as ``write_users``."""
        ...

    def open_login(self, login: Login, user: User, most: int) -> bool:
        """Keep a login, unless its user was removed or has another password meanwhile; says whether it is kept.

        Args:
            login: A new one.
            user: Whose it is, as they were known when they showed their password.
            most: Logins that one user has; older ones end.

        Raises:
            RecordsUnusable: It cannot be written.
        """
        ...

    def find_login(self, root: bytes, now: datetime) -> Login | None:
        """Return the login whose refresh tokens have that in common, unless it ended before; raises as ``list_users``.

        Args:
            root: SHA-256 of what they have in common.
            now: When it must not have ended.
        """
        ...

    def turn_login(self, login_id: str, shown: bytes, following: bytes) -> bool:
        """Let the next refresh token of a login be good; of several who show the same one, for one alone.

        Args:
            login_id: Of the login.
            shown: Digest of the token that must be the good one.
            following: Digest of the next.

        Returns:
            Whether it was the good one; else nothing was changed.

        Raises:
            RecordsUnusable: It cannot be written; the token that was good is.
        """
        ...


class AllRecords(Records, Accounts, Protocol):
    """Keys, changes, users and logins, in one place."""


def spell_user(user: User) -> dict[str, Any]:
    """Return a user as JSON has them; what passwords are compared with stays here."""
    return {
        "id": user.id,
        "name": user.name,
        "tenant": user.tenant,
        "scopes": sorted(user.scopes),
        "models": None if user.models is None else sorted(user.models),
        "created_at": spell_time(user.created_at),
    }
