from datetime import UTC, datetime

import pytest
from tests.support.records import MemoryRecords

from headrace.errors import RecordsUnusable
from headrace.records.accounts import AllRecords
from headrace.records.base import Change
from headrace.records.late import LateRecords


def test_what_does_not_exist_is_not_opened_to_be_read():
    def fail() -> AllRecords:
        raise AssertionError("must not be called")

    records = LateRecords(fail, lambda: False)
    assert (records.mark(), records.list_keys(), records.list_changes(before=None, limit=1, tenant=None)) == (0, [], [])
    assert (records.list_users(), records.list_revoked()) == ([], frozenset())
    assert records.find_login(b"", datetime.now(UTC)) is None
    records.close()


def test_what_could_not_be_opened_is_tried_again():
    inner, answers = MemoryRecords(), [RecordsUnusable("gone")]

    def open_records() -> AllRecords:
        if answers:
            raise answers.pop()
        return inner

    records = LateRecords(open_records, lambda: True)
    with pytest.raises(RecordsUnusable):
        records.mark()
    change = Change(at=datetime.now(UTC), caller="ada", tenant="", action="a", subject="s")
    records.write(change)
    assert len(inner.list_changes(before=None, limit=9, tenant=None)) == 1
