"""Rows of the tables: how they are spelled, and all of them from one database to another."""

from collections.abc import Set as AbstractSet
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from headrace.records.base import Change
from headrace.records.tables import CHANGES, IDEMPOTENT_REQUESTS, KEYS, LOGINS, MARKS, REVOKED, USERS
from headrace.types import Scope

_AT_ONCE: Final = 1000
_COUNTED: Final = (KEYS, CHANGES, USERS, LOGINS)  # whose numbers the database gives


def mark_change(connection: Connection, table: sa.Table = KEYS) -> None:
    """Say that a table changes, before it does: two who change it wait here for each other.

    Users and what was revoked are told with the keys: all of them say who may call.
    """
    connection.execute(sa.update(MARKS).where(MARKS.c.name == table.name).values(number=MARKS.c.number + 1))


def spell_change(change: Change) -> dict[str, Any]:
    """Return the row of a change."""
    told = asdict(change)
    del told[CHANGES.c.number.name]  # the database counts
    return told


def spell_powers(scopes: AbstractSet[Scope], models: AbstractSet[str] | None) -> dict[str, str | None]:
    """Return what a row says of what may be done."""
    return {"scopes": " ".join(sorted(scopes)), "models": None if models is None else " ".join(sorted(models))}


def read_scopes(row: RowMapping) -> frozenset[Scope]:
    """Return the scopes of a row; one of a newer version says nothing here."""
    return frozenset(Scope(scope) for scope in row["scopes"].split() if scope in set(Scope))


def read_powers(row: RowMapping) -> dict[str, Any]:
    """Return what ``spell_powers`` wrote."""
    models = None if row["models"] is None else frozenset(row["models"].split())
    return {"scopes": read_scopes(row), "models": models}


def copy_rows(source: Connection, target: Connection) -> int:
    """Copy every row, in the transactions that are open; returns how many keys there are."""
    if source.dialect.name == "postgresql":
        # Else a key that is made meanwhile is in one table and not in the other.
        source.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    target.execute(sa.delete(MARKS))
    for table in (*_COUNTED, MARKS, REVOKED, IDEMPOTENT_REQUESTS):
        rows = source.execute(sa.select(table)).mappings()
        while chunk := rows.fetchmany(_AT_ONCE):
            target.execute(sa.insert(table), [dict(row) for row in chunk])
    if target.dialect.name == "postgresql":
        for table in _COUNTED:
            _count_on(target, table)
    return int(target.execute(sa.select(sa.func.count()).select_from(KEYS)).scalar_one())


def _count_on(target: Connection, table: sa.Table) -> None:
    """Let PostgreSQL give the next number after those that were copied."""
    last = sa.select(sa.func.max(table.c.number)).scalar_subquery()
    sequence = sa.func.pg_get_serial_sequence(table.name, table.c.number.name)
    target.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(last, 1), last.is_not(None))))
