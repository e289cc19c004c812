import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.streams import Wire

from headrace.engine.inbox import Inbox
from headrace.engine.outbox import Outbox
from headrace.engine.wire import Cancel, Message, Probe, encode

JUNK = struct.pack("<II", 2**32 - 1, 0)


class Listener:
    """What an inbox tells."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.heard: list[Message] = []
        self.ends: list[ValueError | None] = []
        self.inbox = Inbox(Outbox(), self.heard.append, self.ends.append)
        self.inbox.connection_made(self.wire)


@given(st.lists(st.integers(0, 1 << 40), max_size=6), st.lists(st.integers(0, 200)))
def test_messages_arrive_whole_in_whatever_pieces_they_come(numbers: list[int], cuts: list[int]):
    messages: list[Message] = [Probe(number) for number in numbers]
    data, listener = b"".join(map(encode, messages)), Listener()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        listener.inbox.data_received(data[start:end])
    assert listener.heard == messages
    assert listener.ends == []


def test_a_message_is_given_away_as_soon_as_it_is_complete():
    listener, data = Listener(), encode(Probe(1))
    listener.inbox.data_received(data[:-1])
    assert listener.heard == []
    listener.inbox.data_received(data[-1:] + data[:3])
    assert listener.heard == [Probe(1)]
    listener.inbox.data_received(data[3:])
    assert listener.heard == [Probe(1)] * 2


def test_what_is_no_message_ends_the_stream_after_those_before_it():
    listener = Listener()
    listener.inbox.data_received(encode(Probe(1)) + JUNK + encode(Probe(2)))
    listener.inbox.data_received(encode(Probe(3)))
    listener.inbox.connection_lost(None)
    assert listener.heard == [Probe(1)]
    assert [type(end) for end in listener.ends] == [ValueError]
    assert listener.wire.is_closed


@pytest.mark.parametrize("data", [b"", encode(Probe(1))[:-1]])
def test_an_end_is_told_once_also_in_the_middle_of_a_message(data: bytes):
    listener = Listener()
    listener.inbox.data_received(data)
    listener.inbox.eof_received()
    listener.inbox.connection_lost(ConnectionResetError())
    assert listener.ends == [None]
    assert listener.wire.is_closed


def test_a_mistake_of_who_takes_messages_is_not_taken_for_a_bad_one():
    def refuse(_message: Message) -> None:
        raise ValueError("a mistake")

    ends: list[ValueError | None] = []
    inbox = Inbox(Outbox(), refuse, ends.append)
    inbox.connection_made(Wire())
    with pytest.raises(ValueError, match="a mistake"):
        inbox.data_received(encode(Cancel(1)))
    assert ends == []
