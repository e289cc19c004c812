import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.accounts import FIRST, ROOT, SECOND, AccountsContract, login, user
from tests.contracts.records import NOW, asked, change, key
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.records import MemoryRecords

from headrace.errors import RecordsUnusable
from headrace.records.accounts import AllRecords
from headrace.records.late import LateRecords
from headrace.records.sql import SqlRecords


class TestMemoryRecords(AccountsContract):
    """What the tests of others rest on."""

    @pytest.fixture
    def opened(self) -> Callable[[], AllRecords]:
        records = MemoryRecords()
        return lambda: records


class TestSqlite(AccountsContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], AllRecords]:
        return lambda: SqlRecords(tmp_path / "folder" / "records.sqlite3")


class TestLateRecords(AccountsContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], AllRecords]:
        path = tmp_path / "records.sqlite3"
        return lambda: LateRecords(lambda: SqlRecords(path), path.exists)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.connected
class TestPostgres(AccountsContract):
    @pytest.fixture
    def opened(self, server: PostgresServer) -> Callable[[], AllRecords]:
        url = server.make_database()
        return lambda: SqlRecords(url)

    def test_records_move_there_and_back(self, server: PostgresServer, tmp_path: Path) -> None:
        with contextlib.ExitStack() as stack:
            first, there, back = (
                stack.enter_context(contextlib.closing(SqlRecords(place)))
                for place in (tmp_path / "first", server.make_database(), tmp_path / "back")
            )
            made = [key(number, models=frozenset({"a", "b"})) for number in range(1, 4)]
            for each in made:
                first.write(change(), added=[each])
            first.begin(asked(), since=NOW, most=9)
            first.end(asked(), b"\x00answer")
            first.write_users(change("user.created"), added=[user()])
            assert first.open_login(login(), user(), 9)
            first.revoke(change("token.revoked"), ["t1"])
            assert first.copy_to(there) == there.copy_to(back) == 3
            assert first.list_keys() == there.list_keys() == back.list_keys() == made
            assert back.begin(asked(), since=NOW, most=9) == asked(answer=b"\x00answer")
            known = first.list_changes(before=None, limit=10, tenant=None)
            assert there.list_changes(before=None, limit=10, tenant=None) == known
            assert (there.mark(), back.mark()) == (first.mark(), first.mark())
            assert there.list_users() == back.list_users() == [user()]
            assert there.list_revoked() == back.list_revoked() == {"t1"}
            assert there.find_login(ROOT, NOW) == back.find_login(ROOT, NOW) == login()
            assert there.open_login(login(2), user(), 9)  # the numbers of logins go on as well
            assert there.turn_login("l2", FIRST, SECOND)
            there.write(change(), added=[key(9)])  # it counts on after those that came
            assert there.list_changes(before=None, limit=1, tenant=None)[0].number == known[0].number + 1
            with pytest.raises(RecordsUnusable, match="hold something"):
                first.copy_to(there)
            empty = stack.enter_context(contextlib.closing(SqlRecords(server.make_database())))
            assert empty.copy_to(stack.enter_context(contextlib.closing(SqlRecords(tmp_path / "none")))) == 0
