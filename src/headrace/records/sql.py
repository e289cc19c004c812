"""Records in a database: a change is written with its entry in one transaction."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from headrace.errors import IdempotencyFull, RecordsUnusable
from headrace.records.base import Change, IdempotentRequest, Key
from headrace.records.database import Database
from headrace.records.rows import copy_rows, mark_change, read_powers, spell_change, spell_powers
from headrace.records.sql_accounts import SqlAccounts
from headrace.records.tables import CHANGES, IDEMPOTENT_REQUESTS, KEYS, MARKS


class SqlRecords(SqlAccounts):
    """Keeps keys, changes, and requests that are done once, in a database.

    Its tables are made or brought up to date first.

    Args:
        place: A file, or a URL: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``.

    Raises:
        SettingInvalid: It is no such URL.
        DependencyMissing: The driver is not installed.
        RecordsUnusable: The database does not answer, or was written by a newer version.
    """

    def __init__(self, place: str | Path) -> None:
        super().__init__(Database(place))

    def mark(self) -> int:
        """Return a number that is another one whenever a key was made or ended since; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            return int(connection.execute(sa.select(MARKS.c.number).where(MARKS.c.name == KEYS.name)).scalar_one())

    def list_keys(self) -> list[Key]:
        """Return all keys in the order in which they were made; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            return [_read_key(row) for row in connection.execute(sa.select(KEYS).order_by(KEYS.c.number)).mappings()]

    def write(self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()) -> None:
        """Keep a change together with what it did, or neither; raises ``RecordsUnusable``."""
        with self._database.transaction() as connection:
            if added or ended:
                mark_change(connection)
            if added:
                connection.execute(sa.insert(KEYS), [_spell_key(key) for key in added])
            for key_id, ends_at in ended:
                lives_longer = sa.or_(KEYS.c.ends_at.is_(None), KEYS.c.ends_at > ends_at)
                connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id, lives_longer).values(ends_at=ends_at))
            connection.execute(sa.insert(CHANGES), [spell_change(change)])

    def list_changes(self, *, before: int | None, limit: int, tenant: str | None) -> list[Change]:
        """Return changes, the latest first; raises ``RecordsUnusable``."""
        chosen = sa.select(CHANGES).order_by(CHANGES.c.number.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(CHANGES.c.number < before)
        if tenant is not None:
            chosen = chosen.where(CHANGES.c.tenant == tenant)
        with self._database.transaction() as connection:
            return [Change(**row) for row in connection.execute(chosen).mappings()]

    def begin(self, request: IdempotentRequest, *, since: datetime, most: int) -> IdempotentRequest | None:
        """Keep that a request begins, unless it did before; raises ``IdempotencyFull``, ``RecordsUnusable``."""
        columns = IDEMPOTENT_REQUESTS.c
        own = sa.and_(columns.tenant == request.tenant, columns.caller == request.caller)
        with self._database.transaction() as connection:
            mark_change(connection, IDEMPOTENT_REQUESTS)
            connection.execute(sa.delete(IDEMPOTENT_REQUESTS).where(columns.at < since))
            chosen = sa.select(IDEMPOTENT_REQUESTS).where(own, columns.key == request.key)
            if (known := connection.execute(chosen).mappings().first()) is not None:
                return IdempotentRequest(**known)
            count, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(columns.at)).where(own)).one()
            if count >= most:
                raise IdempotencyFull(
                    f"{request.caller!r} has sent {count} idempotency keys, as many as are kept of one caller; ask"
                    " again when the oldest is forgotten, or send requests that need none",
                    field="idempotency-key",
                    retry_after_s=(oldest - since).total_seconds(),
                )
            connection.execute(sa.insert(IDEMPOTENT_REQUESTS), asdict(request))
        return None

    def end(self, request: IdempotentRequest, answer: bytes | None) -> None:
        """Keep the answer of a request, or forget the request; raises ``RecordsUnusable``."""
        columns = IDEMPOTENT_REQUESTS.c
        this = sa.and_(columns.tenant == request.tenant, columns.caller == request.caller, columns.key == request.key)
        with self._database.transaction() as connection:
            if answer is None:
                connection.execute(sa.delete(IDEMPOTENT_REQUESTS).where(this))
            else:
                connection.execute(sa.update(IDEMPOTENT_REQUESTS).where(this).values(answer=answer))

    def copy_to(self, other: "SqlRecords") -> int:
        """Copy everything as it is at one moment into records that hold nothing yet; returns how many keys there are.

        Raises:
            RecordsUnusable: One of them cannot be read or written, or the others hold something; nothing was copied.
        """
        place = other._database  # noqa: SLF001 - one of its own kind
        with self._database.transaction() as source, place.transaction() as target:
            if target.execute(sa.select(CHANGES.c.number).limit(1)).first() is not None:
                raise RecordsUnusable(
                    f"the records in {place.shown} hold something already, and are not mixed; name a place with none"
                )
            return copy_rows(source, target)

    def close(self) -> None:
        """Let go of connections and files."""
        self._database.close()


def _spell_key(key: Key) -> dict[str, Any]:
    return asdict(key) | spell_powers(key.scopes, key.models)


def _read_key(row: RowMapping) -> Key:
    told = {name: value for name, value in row.items() if name != KEYS.c.number.name}
    return Key(**told | read_powers(row) | {"digest": bytes(row["digest"])})
