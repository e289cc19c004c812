import pytest
from tests.support.records import MemoryRecords

from headrace.errors import ModelUnknown, RecordsUnusable
from headrace.records.journal import Journal, change_by
from headrace.types import Caller

ADA = Caller("ada", frozenset(), "acme")


def told(records: MemoryRecords) -> list[tuple[str, str, str]]:
    found = records.list_changes(before=None, limit=9, tenant="acme")
    return [(each.caller, each.action, each.subject) for each in found]


async def test_what_is_done_is_noted_before_it_is_done():
    records = MemoryRecords()
    async with Journal(records).noted(ADA, "model.promoted", "m@1"):
        assert told(records) == [("ada", "model.promoted", "m@1")]
    assert len(told(records)) == 1


async def test_what_failed_is_noted_with_its_code():
    records = MemoryRecords()
    with pytest.raises(ModelUnknown):
        async with Journal(records).noted(ADA, "model.promoted", "m"):
            raise ModelUnknown("no such model")
    assert [action for _, action, _ in told(records)] == ["model.promoted failed: model.unknown", "model.promoted"]


async def test_what_cannot_be_noted_is_not_done():
    records, done = MemoryRecords(), []
    records.is_gone = True
    with pytest.raises(RecordsUnusable):
        async with Journal(records).noted(ADA, "model.promoted", "m"):
            done.append("promoted")
    assert not done


def test_a_subject_is_short_and_can_be_shown():
    change = change_by(ADA, "model.promoted", "a\x00b\x1b[31m\udcff" + "x" * 9999)
    assert change.subject.startswith("a\ufffdb\ufffd[31m\ufffdx")
    assert len(change.subject) == 256
