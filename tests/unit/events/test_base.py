import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from headrace.events.base import SUBJECT, Event, Value, read_position
from headrace.events.kinds import SUBJECTS, TOLD

AT = datetime(2026, 1, 31, 13, 4, 5, 678901, tzinfo=timezone(timedelta(hours=1)))


def test_an_event_is_one_line_of_json_whatever_is_in_it() -> None:
    caller = 'a"\r\nevent: forged\ndata: {}\n\n\u2028\u2029\x85\x00\ud800é'
    spelled = Event(subject="limit.exceeded", fields={"caller": caller, "n": 1}, tenant="acme", count=3, at=AT).spelled
    assert spelled.isascii()
    assert len(spelled.splitlines()) == 1
    assert json.loads(spelled) == {
        "time": "2026-01-31T12:04:05.678Z",
        "subject": "limit.exceeded",
        "count": 3,
        "tenant": "acme",
        "caller": caller,
        "n": 1,
    }


def test_no_field_takes_the_place_of_what_every_event_says() -> None:
    fields: dict[str, Value] = {"subject": "forged", "count": 9, "tenant": "other", "time": ""}
    told = json.loads(Event(subject="a.b", fields=fields, tenant="acme", at=AT).spelled)
    assert (told["subject"], told["count"], told["tenant"]) == ("a.b", 1, "acme")
    assert told["time"]


@pytest.mark.parametrize("tenant", [None, ""])
def test_a_tenant_is_told_where_there_is_one(tenant: str | None) -> None:
    assert "tenant" not in json.loads(Event(subject="a.b", tenant=tenant).spelled)


@pytest.mark.parametrize(
    ("model", "name"), [("minilm", "minilm"), ("minilm@shadow", "minilm"), ("", ""), (None, ""), (7, "7")]
)
def test_the_model_of_an_event_is_its_name_alone(model: str | int | None, name: str) -> None:
    assert Event(subject="a.b", fields={"model": model}).model == name


def test_an_event_happens_when_it_is_made() -> None:
    before = datetime.now(UTC)
    assert before <= Event(subject="a.b").at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0", (0, 0)),
        ("1700000000000-7", (1_700_000_000_000, 7)),
        ("9" * 20 + "-" + "9" * 20, (10**20 - 1, 10**20 - 1)),
        *((bad, None) for bad in ("", "-", "1-", "-1", "1-2-3", "+1", " 1", "1\n", "1_0", "٣", "9" * 21, "x" * 9999)),
    ],
)
def test_an_id_is_two_bounded_numbers(text: str, position: tuple[int, int] | None) -> None:
    assert read_position(text) == position


def test_every_subject_keeps_the_grammar() -> None:
    assert all(SUBJECT.fullmatch(subject) for subject in (*SUBJECTS, *TOLD))
    assert not SUBJECT.fullmatch("a.b\n")
    assert not set(SUBJECTS) & set(TOLD)
