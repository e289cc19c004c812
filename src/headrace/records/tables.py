"""The tables of the records, as this version reads them; ``migrations`` makes them so."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_MILLISECONDS: Final = 1000


class Moment(TypeDecorator[datetime]):
    """A time as milliseconds since 1970, the same in every database: SQLite has no type for it, and drops the zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - as it is
        """Return what is kept."""
        return None if value is None else round(value.timestamp() * _MILLISECONDS)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - called
        """Return what was meant."""
        return None if value is None else datetime.fromtimestamp(value / _MILLISECONDS, UTC)


METADATA: Final = MetaData()
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")  # which counts integers alone

KEYS: Final = Table(
    "keys",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("tenant", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # with spaces between, as OAuth2 writes them
    Column("models", Text),  # as the scopes; NULL for all
    Column("created_at", Moment, nullable=False),
    Column("ends_at", Moment),
)
MARKS: Final = Table(
    "marks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
IDEMPOTENT_REQUESTS: Final = Table(
    "idempotent_requests",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("asked", LargeBinary, nullable=False),
    Column("at", Moment, nullable=False),
    Column("answer", LargeBinary),
)
CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("caller", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
)
USERS: Final = Table(
    "users",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("verifier", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text),
    Column("created_at", Moment, nullable=False),
)
LOGINS: Final = Table(
    "logins",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("root", LargeBinary, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("begun_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False, index=True),
    Index("logins_of_user", "user_id", "number"),
)
REVOKED: Final = Table(
    "revoked",
    METADATA,
    Column("id", Text, primary_key=True),  # of a token or of a login
    Column("until", Moment, nullable=False),
)
