"""Users, logins and what was revoked, in a database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from headrace.records.accounts import LONGEST_TOKEN, Login, User
from headrace.records.base import Change
from headrace.records.database import Database
from headrace.records.rows import mark_change, read_powers, read_scopes, spell_change, spell_powers
from headrace.records.tables import CHANGES, LOGINS, REVOKED, USERS


class SqlAccounts:
    """Keeps users, logins and what was revoked.

    Args:
        database: Where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_users(self) -> list[User]:
        """Return all users in the order in which they were made; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            return [_read_user(row) for row in connection.execute(sa.select(USERS).order_by(USERS.c.number)).mappings()]

    def list_revoked(self) -> frozenset[str]:
        """Return the ids of tokens and logins that were revoked; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            return frozenset(connection.execute(sa.select(REVOKED.c.id)).scalars())

    def write_users(
        self,
        change: Change,
        *,
        added: Sequence[User] = (),
        verifiers: Mapping[str, str] | None = None,
        removed: Collection[str] = (),
    ) -> None:
        """Keep a change of users, or nothing of it; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            mark_change(connection)
            if added:
                connection.execute(sa.insert(USERS), [_spell_user(user) for user in added])
            for user_id, verifier in (verifiers or {}).items():
                connection.execute(sa.update(USERS).where(USERS.c.id == user_id).values(verifier=verifier))
            connection.execute(sa.delete(USERS).where(USERS.c.id.in_(removed)))
            theirs = sa.select(LOGINS.c.id).where(LOGINS.c.user_id.in_([*(verifiers or {}), *removed]))
            _revoke(connection, change, connection.execute(theirs).scalars().all())
            connection.execute(sa.insert(CHANGES), [spell_change(change)])

    def revoke(self, change: Change, ids: Collection[str]) -> None:
        """Revoke tokens, and logins with all their tokens; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            mark_change(connection)
            _revoke(connection, change, ids)
            connection.execute(sa.insert(CHANGES), [spell_change(change)])

    def open_login(self, login: Login, user: User, most: int) -> bool:
        """Keep a login if its user is still as they were known, and of theirs at most so many.

        Raises:
            RecordsUnusable: It cannot be written.
        """
        now_known = sa.select(USERS.c.id).where(USERS.c.id == user.id, USERS.c.verifier == user.verifier)
        theirs = LOGINS.c.user_id == user.id
        kept = sa.select(LOGINS.c.number).where(theirs).order_by(LOGINS.c.number.desc()).limit(most - 1).subquery()
        too_old = sa.and_(theirs, LOGINS.c.number.not_in(sa.select(kept.c.number)))
        with self._database.transaction() as connection:
            # Held: who changes the password meanwhile waits, and then ends this login too.
            if connection.execute(now_known.with_for_update()).first() is None:
                return False
            connection.execute(sa.delete(LOGINS).where(sa.or_(too_old, LOGINS.c.ends_at <= login.begun_at)))
            connection.execute(sa.insert(LOGINS), [_spell_login(login)])
            return True

    def find_login(self, root: bytes, now: datetime) -> Login | None:
        """Return the login whose refresh tokens have that in common; raises ``RecordsUnusable``."""
        alive = sa.select(LOGINS).where(LOGINS.c.root == root, LOGINS.c.ends_at > now)
        with self._database.transaction() as connection:
            row = connection.execute(alive).mappings().first()
            return None if row is None else _read_login(row)

    def turn_login(self, login_id: str, shown: bytes, following: bytes) -> bool:
        """Let the next refresh token of a login be good; raises ``RecordsUnusable``."""
        # Who comes second waits here for the first, and then finds another digest.
        good = sa.and_(LOGINS.c.id == login_id, LOGINS.c.digest == shown)
        with self._database.transaction() as connection:
            return connection.execute(sa.update(LOGINS).where(good).values(digest=following)).rowcount == 1


def _revoke(connection: Connection, change: Change, ids: Collection[str]) -> None:
    connection.execute(sa.delete(REVOKED).where(REVOKED.c.until <= change.at))
    known = set(connection.execute(sa.select(REVOKED.c.id).where(REVOKED.c.id.in_(ids))).scalars())
    if new := set(ids) - known:
        until = change.at + LONGEST_TOKEN
        connection.execute(sa.insert(REVOKED), [{"id": each, "until": until} for each in sorted(new)])
        connection.execute(sa.delete(LOGINS).where(LOGINS.c.id.in_(new)))


def _spell_user(user: User) -> dict[str, Any]:
    return asdict(user) | spell_powers(user.scopes, user.models)


def _read_user(row: RowMapping) -> User:
    told = {name: value for name, value in row.items() if name != USERS.c.number.name}
    return User(**told | read_powers(row))


def _spell_login(login: Login) -> dict[str, Any]:
    return asdict(login) | {"scopes": " ".join(sorted(login.scopes))}


def _read_login(row: RowMapping) -> Login:
    told = {name: value for name, value in row.items() if name != LOGINS.c.number.name}
    digests = {name: bytes(row[name]) for name in ("root", "digest")}
    return Login(**told | digests | {"scopes": read_scopes(row)})
