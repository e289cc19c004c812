"""Records in a database: a file of SQLite, or PostgreSQL where several replicas share them.

SQLAlchemy spells the same statements for both. What one replica writes is there for the next statement of another, and
a change is written with its entry in one transaction.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import URL, Connection, RowMapping, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from headrace.errors import DependencyMissing, IdempotencyFull, RecordsUnusable, SettingInvalid
from headrace.records.base import Change, IdempotentRequest, Key
from headrace.records.rows import copy_rows
from headrace.records.tables import CHANGES, IDEMPOTENT_REQUESTS, KEYS, MARKS
from headrace.types import Scope

_LIMIT_S: Final = 5  # of a connection and of each statement: inference waits for none of them, a person might
_SHAPE_LOCK: Final = 0x48454144  # "HEAD"; whoever has it may change the tables
_RETRY_S: Final = 1.0
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class SqlRecords:
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
        parsed = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else _parse(place)
        self._shown = parsed.render_as_string(hide_password=True)
        self._engine = _make_engine(parsed)
        try:
            with self._transaction() as connection:
                _bring_up_to_date(connection)
        except RecordsUnusable:
            self.close()
            raise

    def mark(self) -> int:
        """Return a number that is another one whenever a key was made or ended since; raises ``RecordsUnusable``."""
        with self._transaction() as connection:
            return int(connection.execute(sa.select(MARKS.c.number).where(MARKS.c.name == KEYS.name)).scalar_one())

    def list_keys(self) -> list[Key]:
        """Return all keys in the order in which they were made; raises ``RecordsUnusable``."""
        with self._transaction() as connection:
            return [_read_key(row) for row in connection.execute(sa.select(KEYS).order_by(KEYS.c.number)).mappings()]

    def write(self, change: Change, *, added: Sequence[Key] = (), ended: Sequence[tuple[str, datetime]] = ()) -> None:
        """Keep a change together with what it did, or neither; raises ``RecordsUnusable``."""
        with self._transaction() as connection:
            if added or ended:
                _mark(connection, KEYS)
            if added:
                connection.execute(sa.insert(KEYS), [_spell_key(key) for key in added])
            for key_id, ends_at in ended:
                lives_longer = sa.or_(KEYS.c.ends_at.is_(None), KEYS.c.ends_at > ends_at)
                connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id, lives_longer).values(ends_at=ends_at))
            connection.execute(sa.insert(CHANGES), [_spell_change(change)])

    def list_changes(self, *, before: int | None, limit: int, tenant: str | None) -> list[Change]:
        """Return changes, the latest first; raises ``RecordsUnusable``."""
        chosen = sa.select(CHANGES).order_by(CHANGES.c.number.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(CHANGES.c.number < before)
        if tenant is not None:
            chosen = chosen.where(CHANGES.c.tenant == tenant)
        with self._transaction() as connection:
            return [Change(**row) for row in connection.execute(chosen).mappings()]

    def begin(self, request: IdempotentRequest, *, since: datetime, most: int) -> IdempotentRequest | None:
        """Keep that a request begins, unless it did before; raises ``IdempotencyFull``, ``RecordsUnusable``."""
        columns = IDEMPOTENT_REQUESTS.c
        own = sa.and_(columns.tenant == request.tenant, columns.caller == request.caller)
        with self._transaction() as connection:
            _mark(connection, IDEMPOTENT_REQUESTS)
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
        with self._transaction() as connection:
            if answer is None:
                connection.execute(sa.delete(IDEMPOTENT_REQUESTS).where(this))
            else:
                connection.execute(sa.update(IDEMPOTENT_REQUESTS).where(this).values(answer=answer))

    def copy_to(self, other: "SqlRecords") -> int:
        """Copy everything as it is at one moment into records that hold nothing yet; returns how many keys there are.

        Raises:
            RecordsUnusable: One of them cannot be read or written, or the others hold something; nothing was copied.
        """
        with self._transaction() as source, other._transaction() as target:  # noqa: SLF001 - one of its own kind
            if target.execute(sa.select(CHANGES.c.number).limit(1)).first() is not None:
                raise RecordsUnusable(
                    f"the records in {other._shown} hold something already, and are not mixed; name a place with none"  # noqa: SLF001 - as above
                )
            return copy_rows(source, target)

    def close(self) -> None:
        """Let go of connections and files."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, CommandError) as error:
            # What the database says may hold what was to be written, or where it is; the cause is for a debugger.
            raise RecordsUnusable(
                f"the records in {self._shown} cannot be read or written ({_reason(error)}); nothing was changed",
                retry_after_s=_RETRY_S,
            ) from error


def _mark(connection: Connection, table: sa.Table) -> None:
    """Say that a table changes, before it does: whoever changes it at the same time waits for the other to be done."""
    connection.execute(sa.update(MARKS).where(MARKS.c.name == table.name).values(number=MARKS.c.number + 1))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = URL.create("")
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None or not parsed.database:
        raise SettingInvalid(
            "records.url is none of postgresql://USER:PASSWORD@HOST/NAME and sqlite:///FILE; correct or unset it",
            field="records.url",
        )
    return parsed.set(drivername=driver)


def _make_engine(url: URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        return _open_file(Path(str(url.database)))
    options = {"connect_timeout": _LIMIT_S, "options": f"-c statement_timeout={_LIMIT_S}s -c lock_timeout={_LIMIT_S}s"}
    try:
        # Two: a look for new keys does not wait for a page of changes. Pinged before use, as a database restarts, too.
        return sa.create_engine(
            url, pool_size=2, max_overflow=0, pool_timeout=_LIMIT_S, pool_pre_ping=True, connect_args=options
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DependencyMissing(
            "records.url names PostgreSQL, whose driver is not installed; install it: pip install 'headrace[postgres]'"
        ) from error


def _open_file(path: Path) -> sa.Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # whoever reads it sees who may do what
    except OSError as error:
        raise RecordsUnusable(
            f"the records in {path} cannot be opened ({error.strerror}); let this user write there,"
            " or choose another --home"
        ) from error
    engine = sa.create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": _LIMIT_S})
    sa.event.listen(engine, "connect", _prepare_file)
    sa.event.listen(engine, "begin", _begin_writing)
    return engine


def _prepare_file(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # else the module commits before each change of a table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a key that was revoked stays revoked after a power cut


def _begin_writing(connection: Connection) -> None:
    # At once: one that reads first and then writes fails where another has written in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bring_up_to_date(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SHAPE_LOCK})
    config = Config()
    config.set_main_option("script_location", "headrace.records:migrations")
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")


def _reason(error: Exception) -> str:
    if isinstance(error, CommandError):
        return "a newer version of Headrace wrote them"
    return type(getattr(error, "orig", None) or error).__name__


def _spell_key(key: Key) -> dict[str, Any]:
    models = None if key.models is None else " ".join(sorted(key.models))
    return asdict(key) | {"scopes": " ".join(sorted(key.scopes)), "models": models}


def _read_key(row: RowMapping) -> Key:
    told = {name: value for name, value in row.items() if name != KEYS.c.number.name}
    # A scope of a newer version says nothing here.
    scopes = frozenset(Scope(scope) for scope in row["scopes"].split() if scope in set(Scope))
    models = None if row["models"] is None else frozenset(row["models"].split())
    return Key(**told | {"scopes": scopes, "models": models, "digest": bytes(row["digest"])})


def _spell_change(change: Change) -> dict[str, Any]:
    told = asdict(change)
    del told[CHANGES.c.number.name]  # the database counts
    return told
