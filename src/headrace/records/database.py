"""The database of the records: a file of SQLite, or PostgreSQL where several replicas share them.

SQLAlchemy spells the same statements for both. What one replica writes is there for the next statement of another.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from headrace.errors import DependencyMissing, RecordsUnusable, SettingInvalid

_LIMIT_S: Final = 5  # of a connection and of each statement: inference waits for none of them, a person might
_SHAPE_LOCK: Final = 0x48454144  # "HEAD"; whoever has it may change the tables
_RETRY_S: Final = 1.0
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Database:
    """A database, whose tables are made or brought up to date first.

    Args:
        place: A file, or a URL: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``.

    Attributes:
        shown: Where it is, without a password.

    Raises:
        SettingInvalid: It is no such URL.
        DependencyMissing: The driver is not installed.
        RecordsUnusable: The database does not answer, or was written by a newer version.
    """

    def __init__(self, place: str | Path) -> None:
        parsed = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else _parse(place)
        self.shown = parsed.render_as_string(hide_password=True)
        self._engine = _make_engine(parsed)
        try:
            with self.transaction() as connection:
                _bring_up_to_date(connection)
        except RecordsUnusable:
            self.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection, on which all is done or nothing.

        Raises:
            RecordsUnusable: It could not be done.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, CommandError) as error:
            # What the database says may hold what was to be written, or where it is; the cause is for a debugger.
            raise RecordsUnusable(
                f"the records in {self.shown} cannot be read or written ({_reason(error)}); nothing was changed",
                retry_after_s=_RETRY_S,
            ) from error

    def close(self) -> None:
        """Let go of connections and files."""
        self._engine.dispose()


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
