import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headrace.errors import DependencyMissing, RecordsUnusable, SettingInvalid
from headrace.records.base import Change, IdempotentRequest
from headrace.records.sql import SqlRecords
from headrace.records.tables import METADATA

CHANGE = Change(at=datetime.now(UTC), caller="ada", tenant="", action="a", subject="s")


def test_the_steps_lead_to_the_tables_that_are_read(tmp_path: Path):
    SqlRecords(tmp_path / "r").close()
    with sa.create_engine(f"sqlite:///{tmp_path / 'r'}").connect() as connection:
        context = MigrationContext.configure(connection)
        assert not [step for step in compare_metadata(context, METADATA) if step[0] != "remove_index"]
        connection.exec_driver_sql("DROP TABLE marks")
        assert compare_metadata(context, METADATA)  # it would have been seen


def test_a_copy_has_everything(tmp_path: Path):
    first, copy = SqlRecords(tmp_path / "r"), SqlRecords(tmp_path / "copy")
    request = IdempotentRequest(
        tenant="", caller="ada", key=b"k" * 32, asked=b"a" * 32, at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    first.write(CHANGE)
    first.begin(request, since=request.at, most=1)
    assert first.copy_to(copy) == 0
    tables = sa.inspect(first._database._engine).get_table_names()
    for table in set(tables) - {"alembic_version"}:
        with first._database.transaction() as source, copy._database.transaction() as target:
            rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for connection in (source, target)]  # noqa: S608 - of our own
        assert rows[0] == rows[1]
    assert copy.begin(request, since=request.at, most=1) == request
    first.close()
    copy.close()


def test_nobody_else_may_read_the_file(tmp_path: Path):
    SqlRecords(tmp_path / "r").close()
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o600


def test_a_file_may_be_named_by_a_url(tmp_path: Path):
    records = SqlRecords(f"sqlite:///{tmp_path / 'r'}")
    records.write(CHANGE)
    records.close()
    again = SqlRecords(tmp_path / "r")
    assert len(again.list_changes(before=None, limit=9, tenant=None)) == 1
    again.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://a/b", "postgresql://host", "sqlite://", "https://x/y"])
def test_a_url_of_something_else_is_refused(url: str):
    with pytest.raises(SettingInvalid, match="postgresql://USER") as caught:
        SqlRecords(url)
    assert caught.value.field == "records.url"


def test_what_a_newer_version_wrote_is_left_alone(tmp_path: Path):
    SqlRecords(tmp_path / "r").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'r'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    before = (tmp_path / "r").read_bytes()
    with pytest.raises(RecordsUnusable, match="a newer version of Headrace wrote them"):
        SqlRecords(tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == before


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path):
    (tmp_path / "r").write_bytes(b"no database at all" * 100)
    with pytest.raises(RecordsUnusable, match=r"/r cannot be read or written \(DatabaseError\)"):
        SqlRecords(tmp_path / "r")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "r").mkdir()
    with pytest.raises(RecordsUnusable, match=r"/r cannot be opened \(Is a directory\).*choose another --home"):
        SqlRecords(tmp_path / "r")


def test_an_error_shows_no_password():
    with pytest.raises(RecordsUnusable, match="nothing was changed") as caught:
        SqlRecords("postgresql://ada:made-up-password@127.0.0.1:1/records")
    assert "made-up-password" not in caught.value.message
    assert "ada" in caught.value.message


def test_a_driver_that_is_not_installed_is_named():
    with (
        mock.patch.dict(sys.modules, {"psycopg": None}),
        pytest.raises(DependencyMissing, match=r"headrace\[postgres\]"),
    ):
        SqlRecords("postgresql://ada@127.0.0.1/records")


def test_a_scope_of_a_newer_version_says_nothing(tmp_path: Path):
    records = SqlRecords(tmp_path / "r")
    with records._database.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO keys (id, name, digest, tenant, scopes, created_at)"
            " VALUES ('k', 'n', x'00', '', 'infer fly', 0)"
        )
    assert [set(key.scopes) for key in records.list_keys()] == [{"infer"}]
    records.close()
