"""Requests that are done once, however often they come."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "idempotent_requests",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("asked", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.LargeBinary),
    )
    op.create_index("idempotent_requests_by_age", "idempotent_requests", ["at"])
    marks = sa.table("marks", sa.column("name", sa.Text), sa.column("number", sa.BigInteger))
    op.bulk_insert(marks, [{"name": "idempotent_requests", "number": 0}])
