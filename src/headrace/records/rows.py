"""All rows of the tables, from one database to another: the same whether it is SQLite or PostgreSQL."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from headrace.records.tables import CHANGES, IDEMPOTENT_REQUESTS, KEYS, MARKS

_AT_ONCE: Final = 1000
_COUNTED: Final = (KEYS, CHANGES)  # whose numbers the database gives


def copy_rows(source: Connection, target: Connection) -> int:
    """Copy every row, in the transactions that are open; returns how many keys there are."""
    if source.dialect.name == "postgresql":
        # Else a key that is made meanwhile is in one table and not in the other.
        source.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    target.execute(sa.delete(MARKS))
    for table in (KEYS, CHANGES, IDEMPOTENT_REQUESTS, MARKS):
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
