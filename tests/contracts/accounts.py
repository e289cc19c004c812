"""What all that keeps users and logins must do."""

import dataclasses
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.contracts.records import NOW, RecordsContract, change

from headrace.errors import RecordsUnusable
from headrace.records.accounts import LONGEST_TOKEN, AllRecords, Login, User
from headrace.types import Scope

ROOT, FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in range(4))


def user(number: int = 1, **changed: object) -> User:
    made = User(
        id=f"u{number}",
        name=f"ada{number}",
        verifier="$argon2id$made-up",
        tenant="",
        scopes=frozenset({Scope.INFER}),
        models=None,
        created_at=NOW,
    )
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def login(number: int = 1, **changed: object) -> Login:
    made = Login(
        id=f"l{number}",
        root=ROOT if number == 1 else bytes([100 + number]) * 32,
        digest=FIRST,
        user_id="u1",
        scopes=frozenset({Scope.INFER, Scope.KEYS}),
        begun_at=NOW,
        ends_at=NOW + timedelta(days=30),
    )
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


class AccountsContract(RecordsContract):
    """Inherit as records do: they are kept in the same place."""

    @pytest.fixture
    def records(self, reopen: Callable[[], AllRecords]) -> AllRecords:
        return reopen()

    @pytest.fixture
    def with_login(self, records: AllRecords) -> AllRecords:
        records.write_users(change("user.created"), added=[user()])
        assert records.open_login(login(), user(), 9)
        return records

    def test_at_first_there_is_nobody(self, records: AllRecords) -> None:
        assert (records.list_users(), records.list_revoked()) == ([], frozenset())
        assert records.find_login(ROOT, NOW) is None

    def test_a_user_comes_back_as_they_were(self, records: AllRecords) -> None:
        made = [user(2, tenant="acme", models=frozenset({"a", "b.c-d"})), user(1)]
        records.write_users(change("user.created"), added=made)
        assert records.list_users() == made

    def test_a_new_password_and_a_removal_are_kept_with_their_change(self, records: AllRecords) -> None:
        records.write_users(change("user.created"), added=[user(1), user(2)])
        records.write_users(change("user.password"), verifiers={"u1": "other"})
        records.write_users(change("user.removed"), removed=["u2"])
        assert records.list_users() == [user(1, verifier="other")]
        actions = [each.action for each in records.list_changes(before=None, limit=9, tenant=None)]
        assert actions == ["user.removed", "user.password", "user.created"]
        records.write_users(change("user.created"), added=[user(3, name="ada2")])  # the name is free again

    def test_two_users_have_not_the_same_name(self, records: AllRecords) -> None:
        records.write_users(change("user.created"), added=[user(1)])
        mark = records.mark()
        with pytest.raises(RecordsUnusable):
            records.write_users(change("again"), added=[user(2, name="ada1")])
        assert (records.list_users(), records.mark()) == ([user(1)], mark)

    def test_the_mark_is_another_one_after_users_or_what_is_revoked_changed(self, records: AllRecords) -> None:
        marks = [records.mark()]
        records.write_users(change(), added=[user()])
        marks.append(records.mark())
        records.revoke(change(), ["t1"])
        marks.append(records.mark())
        assert len(set(marks)) == 3
        assert records.open_login(login(), user(), 9)
        assert records.turn_login("l1", FIRST, SECOND)
        assert records.mark() == marks[-1]

    def test_a_refresh_token_is_good_once(self, with_login: AllRecords) -> None:
        assert with_login.turn_login("l1", FIRST, SECOND)
        assert not with_login.turn_login("l1", FIRST, THIRD)
        assert with_login.find_login(ROOT, NOW) == login(digest=SECOND)
        assert with_login.turn_login("l1", SECOND, THIRD)
        assert not with_login.turn_login("l2", THIRD, FIRST)

    def test_a_login_ends(self, with_login: AllRecords) -> None:
        assert with_login.find_login(ROOT, login().ends_at) is None
        assert with_login.find_login(ROOT, NOW) == login()
        assert with_login.find_login(FIRST, NOW) is None

    def test_what_is_revoked_is_remembered_as_long_as_its_tokens_may_last(self, with_login: AllRecords) -> None:
        with_login.revoke(change("token.revoked"), ["t1"])
        with_login.revoke(change("token.revoked"), ["t1", "l1"])
        assert with_login.list_revoked() == {"t1", "l1"}
        assert with_login.find_login(ROOT, NOW) is None
        later = dataclasses.replace(change(), at=NOW + LONGEST_TOKEN)
        with_login.revoke(later, ["t2"])
        assert with_login.list_revoked() == {"t2"}

    @pytest.mark.parametrize("changed", [{"verifiers": {"u1": "other"}}, {"removed": ["u1"]}])
    def test_logins_end_with_a_password_and_with_their_user(
        self, with_login: AllRecords, changed: dict[str, object]
    ) -> None:
        with_login.write_users(change("user.created"), added=[user(2)])
        assert with_login.open_login(login(2, user_id="u2"), user(2), 9)
        with_login.write_users(change("user.password"), **changed)  # type: ignore[arg-type]
        assert with_login.list_revoked() == {"l1"}
        assert with_login.find_login(ROOT, NOW) is None
        assert with_login.find_login(login(2).root, NOW) is not None

    def test_who_is_no_more_as_they_were_known_is_not_logged_in(self, with_login: AllRecords) -> None:
        with_login.write_users(change("user.password"), verifiers={"u1": "other"})
        assert not with_login.open_login(login(2), user(), 9)
        assert with_login.open_login(login(2), user(verifier="other"), 9)
        with_login.write_users(change("user.removed"), removed=["u1"])
        assert not with_login.open_login(login(3), user(verifier="other"), 9)

    def test_of_many_logins_the_latest_are_kept(self, with_login: AllRecords) -> None:
        for number in (2, 3, 4):
            assert with_login.open_login(login(number), user(), 2)
        known = [with_login.find_login(login(number).root, NOW) for number in (1, 2, 3, 4)]
        assert [each is not None for each in known] == [False, False, True, True]

    def test_of_several_who_show_one_refresh_token_one_gets_the_next(
        self, with_login: AllRecords, reopen: Callable[[], AllRecords]
    ) -> None:
        replicas = [reopen(), reopen()]
        outcomes: list[bool] = []

        def turn(number: int) -> None:
            outcomes.append(replicas[number % 2].turn_login("l1", FIRST, bytes([50 + number]) * 32))

        threads = [threading.Thread(target=turn, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [False] * 7 + [True]

    def test_a_replica_sees_who_was_removed_elsewhere(
        self, with_login: AllRecords, reopen: Callable[[], AllRecords]
    ) -> None:
        there = reopen()
        mark = there.mark()
        with_login.write_users(change("user.removed"), removed=["u1"])
        assert there.mark() != mark
        assert (there.list_users(), there.list_revoked()) == ([], frozenset({"l1"}))
