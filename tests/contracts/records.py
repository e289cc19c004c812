"""What all records must do."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from headrace.errors import IdempotencyFull, RecordsUnusable
from headrace.records.base import Change, IdempotentRequest, Key, Records
from headrace.types import Scope

NOW = datetime(2026, 11, 30, 12, 30, 15, 123_000, tzinfo=UTC)


def key(number: int = 1, **changed: object) -> Key:
    made = Key(
        id=f"k{number}",
        name="nightly job",
        digest=bytes([number]) * 32,
        tenant="",
        scopes=frozenset({Scope.INFER, Scope.MODELS_READ}),
        models=None,
        created_at=NOW,
        ends_at=None,
    )
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def change(action: str = "key.created", **changed: str) -> Change:
    return Change(**{"at": NOW, "caller": "ada", "tenant": "", "action": action, "subject": "k1", **changed})  # type: ignore[arg-type]


def asked(name: int = 1, **changed: object) -> IdempotentRequest:
    made = IdempotentRequest(tenant="", caller="ada", key=bytes([name]) * 32, asked=b"\xff" * 32, at=NOW, answer=None)
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


class RecordsContract:
    """Inherit, and give a function that opens the same records again and again."""

    @pytest.fixture
    def opened(self) -> Callable[[], Records]:
        raise NotImplementedError

    @pytest.fixture
    def reopen(self, opened: Callable[[], Records]) -> Iterator[Callable[[], Records]]:
        with contextlib.ExitStack() as stack:
            yield lambda: stack.enter_context(contextlib.closing(opened()))

    @pytest.fixture
    def records(self, reopen: Callable[[], Records]) -> Records:
        return reopen()

    def test_at_first_there_is_nothing(self, records: Records) -> None:
        assert records.list_keys() == []
        assert records.list_changes(before=None, limit=10, tenant=None) == []
        assert records.mark() == records.mark()

    def test_a_key_comes_back_as_it_was(self, records: Records) -> None:
        made = [key(1), key(2, tenant="acme", models=frozenset({"a", "b.c-d"}), ends_at=NOW + timedelta(days=1))]
        records.write(change(), added=made)
        assert records.list_keys() == made

    def test_keys_are_in_the_order_in_which_they_were_made(self, records: Records) -> None:
        for number in (3, 1, 2):
            records.write(change(), added=[key(number)])
        assert [each.id for each in records.list_keys()] == ["k3", "k1", "k2"]

    def test_a_key_that_ends_is_kept(self, records: Records) -> None:
        records.write(change(), added=[key(1), key(2)])
        records.write(change("key.revoked"), ended=[("k1", NOW)])
        assert [each.ends_at for each in records.list_keys()] == [NOW, None]

    def test_a_key_never_ends_later_than_it_did(self, records: Records) -> None:
        records.write(change(), added=[key(1, ends_at=NOW)])
        records.write(change("key.rotated"), ended=[("k1", NOW + timedelta(days=1))])
        assert records.list_keys()[0].ends_at == NOW
        records.write(change("key.rotated"), ended=[("k1", NOW - timedelta(days=1))])
        assert records.list_keys()[0].ends_at == NOW - timedelta(days=1)

    def test_the_mark_is_another_one_after_keys_changed_and_only_then(self, records: Records) -> None:
        marks = [records.mark()]
        records.write(change(), added=[key(1)])
        marks.append(records.mark())
        records.write(change("key.revoked"), ended=[("k1", NOW)])
        marks.append(records.mark())
        assert len(set(marks)) == 3
        records.write(change("model.promoted"))
        assert records.mark() == marks[-1]

    def test_changes_come_in_pages_the_latest_first(self, records: Records) -> None:
        for number in range(5):
            records.write(change(f"a{number}"))
        first = records.list_changes(before=None, limit=2, tenant=None)
        second = records.list_changes(before=first[-1].number, limit=9, tenant=None)
        assert [each.action for each in first + second] == ["a4", "a3", "a2", "a1", "a0"]
        assert dataclasses.replace(first[0], number=0) == change("a4")

    def test_changes_of_a_tenant_are_those_of_its_callers(self, records: Records) -> None:
        records.write(change("theirs", tenant="acme"))
        records.write(change("ours"))
        assert [each.action for each in records.list_changes(before=None, limit=9, tenant="acme")] == ["theirs"]
        assert [each.action for each in records.list_changes(before=None, limit=9, tenant="")] == ["ours"]

    def test_what_cannot_be_done_whole_is_not_done(self, records: Records) -> None:
        records.write(change(), added=[key(1)])
        mark = records.mark()
        with pytest.raises(RecordsUnusable):
            records.write(change("again"), added=[key(2), key(1)])
        assert [each.id for each in records.list_keys()] == ["k1"]
        assert records.mark() == mark
        assert [each.action for each in records.list_changes(before=None, limit=9, tenant=None)] == ["key.created"]

    def test_a_request_begins_once(self, records: Records) -> None:
        assert records.begin(asked(), since=NOW, most=9) is None
        again = asked(at=NOW + timedelta(seconds=5), asked=b"\x00" * 32)
        assert records.begin(again, since=NOW, most=9) == asked()
        records.end(asked(), b'{"a": 1}\x00')
        assert records.begin(again, since=NOW, most=9) == asked(answer=b'{"a": 1}\x00')

    def test_a_request_that_is_forgotten_begins_again(self, records: Records) -> None:
        records.begin(asked(1), since=NOW, most=9)
        records.begin(asked(2), since=NOW, most=9)
        records.end(asked(1), None)
        assert records.begin(asked(1), since=NOW, most=9) is None
        assert records.begin(asked(2), since=NOW, most=9) == asked(2)

    def test_requests_of_others_are_others(self, records: Records) -> None:
        for each in (asked(), asked(tenant="acme"), asked(caller="bob"), asked(2)):
            assert records.begin(each, since=NOW, most=9) is None
        records.end(asked(tenant="acme"), b"theirs")
        assert records.begin(asked(), since=NOW, most=9) == asked()

    def test_requests_of_before_are_forgotten(self, records: Records) -> None:
        records.begin(asked(1), since=NOW, most=9)
        records.end(asked(1), b"old")
        later = NOW + timedelta(milliseconds=1)
        records.begin(asked(2, caller="bob"), since=later, most=9)
        records.end(asked(1), b"nobody waits for it")
        assert records.begin(asked(1, at=later), since=NOW, most=9) is None

    def test_a_caller_has_so_many_and_no_more(self, records: Records) -> None:
        since = NOW - timedelta(seconds=60)
        for number in range(3):
            assert records.begin(asked(number, at=NOW + timedelta(seconds=number)), since=since, most=3) is None
        with pytest.raises(IdempotencyFull) as caught:
            records.begin(asked(9), since=since, most=3)
        assert caught.value.retry_after_s == 60
        assert records.begin(asked(1), since=since, most=3) is not None
        assert records.begin(asked(9, caller="bob"), since=since, most=3) is None
        assert records.begin(asked(9), since=NOW + timedelta(seconds=1), most=3) is None

    def test_requests_are_no_keys_and_no_changes(self, records: Records) -> None:
        records.write(change(), added=[key(1)])
        mark = records.mark()
        records.begin(asked(), since=NOW, most=9)
        records.end(asked(), b"answer")
        assert records.mark() == mark
        assert len(records.list_changes(before=None, limit=9, tenant=None)) == 1

    def test_of_many_at_the_same_time_one_begins(self, reopen: Callable[[], Records]) -> None:
        replicas = [reopen(), reopen()]
        told: list[object] = []

        def begin(records: Records) -> None:
            told.extend(records.begin(asked(number), since=NOW, most=99) for number in range(20))

        threads = [threading.Thread(target=begin, args=(records,)) for records in replicas * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 80
        assert told.count(None) == 20

    def test_a_replica_sees_what_another_one_wrote(self, reopen: Callable[[], Records]) -> None:
        here, there = reopen(), reopen()
        mark = there.mark()
        here.write(change(), added=[key(1)])
        assert there.mark() != mark
        assert there.list_keys() == [key(1)]
        here.close()
        assert reopen().list_keys() == [key(1)]

    def test_writers_do_not_lose_each_others_changes(self, reopen: Callable[[], Records]) -> None:
        replicas = [reopen(), reopen()]
        before = replicas[0].mark()

        def write(records: Records, start: int) -> None:
            for number in range(start, start + 20):
                records.write(change(), added=[key(number)])

        threads = [
            threading.Thread(target=write, args=(records, 1 + 20 * place)) for place, records in enumerate(replicas * 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replicas[0].list_keys()) == 80
        assert replicas[0].mark() - before == 80
