import asyncio

import pytest
from tests.support.streams import Wire

from headrace.engine import outbox as outbox_module
from headrace.engine.outbox import Outbox
from headrace.engine.wire import Message, Probed, QueueSeen, cut


def messages(data: bytes) -> list[Message]:
    found, start = [], 0
    while start < len(data):
        message, start = cut(data, start)
        assert message is not None
        found.append(message)
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbox(wire: Wire) -> Outbox:
    outbox = Outbox()
    outbox.open(wire)
    return outbox


def test_what_is_sent_before_it_is_open_waits_until_then(wire: Wire):
    outbox = Outbox()
    outbox.send(Probed(1))
    outbox.send(Probed(2))
    outbox.open(wire)
    assert [messages(data) for data in wire.writes] == [[Probed(1), Probed(2)]]


async def test_what_is_told_travels_with_the_next_answer_in_one_write(outbox: Outbox, wire: Wire):
    outbox.tell(Probed(1))
    outbox.tell_queue(7)
    outbox.tell_queue(3)
    assert wire.writes == []
    outbox.send(Probed(2))
    assert [messages(data) for data in wire.writes] == [[Probed(1), Probed(2), QueueSeen(3)]]


async def test_what_is_told_goes_alone_if_no_answer_comes(outbox: Outbox, wire: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox_module, "_PAUSE_S", 0.001)
    outbox.tell(Probed(1))
    while not wire.writes:
        await asyncio.sleep(0.001)
    assert messages(wire.writes[0]) == [Probed(1)]


async def test_a_queue_that_is_as_long_as_before_is_no_news(outbox: Outbox, wire: Wire):
    outbox.tell_queue(2)
    outbox.tell_queue(0)
    outbox.send(Probed(1))
    assert [messages(data) for data in wire.writes] == [[Probed(1)]]


async def test_the_end_writes_what_is_left_and_nothing_is_written_after_it(outbox: Outbox, wire: Wire):
    outbox.tell(Probed(1))
    outbox.close()
    outbox.send(Probed(2))
    outbox.close()
    assert [messages(data) for data in wire.writes] == [[Probed(1)]]
    assert wire.is_closed


def test_one_that_was_never_open_can_be_closed():
    Outbox().close()
