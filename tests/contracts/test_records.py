from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.records import RecordsContract
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.records import MemoryRecords

from headrace.records.base import Records
from headrace.records.late import LateRecords
from headrace.records.sql import SqlRecords


class TestMemoryRecords(RecordsContract):
    """What the tests of others rest on."""

    @pytest.fixture
    def opened(self) -> Callable[[], Records]:
        records = MemoryRecords()
        return lambda: records


class TestSqlite(RecordsContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], Records]:
        return lambda: SqlRecords(tmp_path / "folder" / "records.sqlite3")


class TestLateRecords(RecordsContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], Records]:
        path = tmp_path / "records.sqlite3"
        return lambda: LateRecords(lambda: SqlRecords(path), path.exists)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.connected
class TestPostgres(RecordsContract):
    @pytest.fixture
    def opened(self, server: PostgresServer) -> Callable[[], Records]:
        url = server.make_database()
        return lambda: SqlRecords(url)
