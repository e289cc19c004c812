"""Who may follow the events, and what each is shown."""

import asyncio
from collections.abc import Callable

import pytest
from tests.support.facts import Recorder

from headrace import readers as module
from headrace.errors import AccessDenied, CallerUnknown, ReadersFull, RequestInvalid, ServiceStopping
from headrace.events.base import Event, ReaderDropped
from headrace.events.kinds import SUBJECTS
from headrace.events.memory import MemoryEvents
from headrace.observe.base import ReaderJoined, ReaderLeft
from headrace.readers import Reader, Readers, last_words
from headrace.types import Caller, Scope

MAY = frozenset({Scope.EVENTS_READ})
ADA = Caller("ada", MAY, "acme")
ADMIN = Caller("root", MAY | {Scope.ADMIN})
EVENTS = {
    "for all": Event(subject="version.switched", fields={"model": "minilm"}),
    "other model": Event(subject="version.switched", fields={"model": "other"}),
    "its shadow": Event(subject="engine.restarted", fields={"model": "other@shadow"}),
    "no model": Event(subject="queue.full", fields={"task": "embed"}),
    "acme": Event(subject="limit.exceeded", fields={"caller": "ada"}, tenant="acme"),
    "acme's other": Event(subject="request.failed", fields={"caller": "ada", "model": "other"}, tenant="acme"),
    "umbrella": Event(subject="limit.exceeded", fields={"caller": "eve"}, tenant="umbrella"),
    "nobody's": Event(subject="text.quarantined", fields={"model": "minilm"}, tenant=""),
}


class World:
    """Readers, and what they are shown."""

    def __init__(self, most: int = 8, keep: int = 100) -> None:
        self.events = MemoryEvents(keep)
        self.recorder = Recorder()
        self.readers = Readers(self.events, self.recorder, most)

    def open(self, caller: Caller = ADA, after: str | None = None, subjects: list[str] | None = None) -> Reader:
        return self.readers.open(lambda: caller, after, subjects)


@pytest.mark.parametrize(
    ("caller", "hidden"),
    [
        (ADMIN, set()),
        (Caller("own", frozenset(Scope), ""), set()),
        (Caller("plain", MAY, ""), {"acme", "acme's other", "umbrella"}),
        (ADA, {"umbrella", "nobody's"}),
        (Caller("boss", MAY | {Scope.ADMIN}, "acme"), {"umbrella", "nobody's"}),
        (
            Caller("ada", MAY, "acme", frozenset({"minilm"})),
            {"other model", "its shadow", "acme's other", "umbrella", "nobody's"},
        ),
        (Caller("ada", MAY, "third", frozenset({"x"})), set(EVENTS) - {"no model"}),
    ],
)
async def test_a_reader_is_shown_what_is_its_own_and_what_is_for_all(caller: Caller, hidden: set[str]):
    world = World()
    with world.open(caller) as reader:
        for event in EVENTS.values():
            world.events.publish(event)
        shown = await reader.next()
    expected = [event for name, event in EVENTS.items() if name not in hidden]
    assert [(each.subject, each.fields) for each in shown] == [(each.subject, each.fields) for each in expected]


async def test_a_reader_is_shown_the_subjects_that_it_asked_for_and_what_concerns_its_reading():
    world = World(keep=16)
    for _ in range(20):
        world.events.publish(EVENTS["no model"])
    with world.open(after="1", subjects=["queue.full", "limit.exceeded"]) as reader:
        (missed,) = await reader.next()
        assert (missed.subject, missed.fields, missed.id) == ("events.missed", {"reason": "not.kept"}, "")
        assert {each.subject for each in await reader.next()} == {"queue.full"}
        for event in EVENTS.values():
            world.events.publish(event)
        world.events.publish(Event(subject="events.missed"))
        assert [each.subject for each in await reader.next()] == ["queue.full", "limit.exceeded", "events.missed"]


async def test_what_is_hidden_passes_for_silence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_SILENCE_S", 0.02)
    world = World()
    with world.open() as reader:
        world.events.publish(EVENTS["umbrella"])
        assert not await reader.next()


async def test_without_the_scope_nobody_follows():
    world = World()
    with pytest.raises(AccessDenied, match="events:read"):
        world.open(Caller("ada", frozenset(Scope) - MAY))
    assert world.recorder.facts == []


@pytest.mark.parametrize(
    ("after", "subjects", "field"),
    [
        ("yesterday", None, "after"),
        ("9" * 10_000, None, "after"),
        ("", None, "after"),
        (None, [""], "subject"),
        (None, ["limit.exceeded", "x" * 10_000], "subject"),
        (None, ["reader.dropped"], "subject"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_shortly(after: str | None, subjects: list[str] | None, field: str):
    world = World()
    with pytest.raises(RequestInvalid) as caught:
        world.open(after=after, subjects=subjects)
    assert caught.value.field == field
    assert len(caught.value.message) < 400
    assert world.recorder.facts == []


async def test_one_caller_takes_a_fourth_and_all_together_no_more_than_there_may_be():
    world = World(most=8)
    for number in range(4):
        for _ in range(2):
            world.open(Caller(f"c{number}", MAY))
        with pytest.raises(ReadersFull, match=rf"'c{number}' follows the events 2 times"):
            world.open(Caller(f"c{number}", MAY))
    with pytest.raises(ReadersFull, match=r"events\.max_readers") as caught:
        world.open(Caller("c9", MAY))
    assert caught.value.retry_after_s
    assert len(world.recorder.of(ReaderJoined)) == 8


async def test_whoever_leaves_makes_room_and_is_a_fact():
    world = World(most=4)
    with world.open() as reader:
        world.events.publish(EVENTS["for all"])
        await reader.next()
        with pytest.raises(ReadersFull):
            world.open()
    (left,) = world.recorder.of(ReaderLeft)
    assert (left.caller, left.reason, left.events) == ("ada", "client.left", 1)
    world.open()
    assert len(world.readers._of_callers) == 1


class Guard:
    """Knows a caller, until it does not."""

    def __init__(self, caller: Caller) -> None:
        self.caller: Caller | None = caller
        self.asked = 0

    def __call__(self) -> Caller:
        self.asked += 1
        if self.caller is None:
            raise CallerUnknown("the key has ended")
        return self.caller


@pytest.mark.parametrize(("later", "reason"), [(None, "caller.unknown"), (Caller("ada", frozenset()), "access.denied")])
async def test_a_key_that_ends_ends_its_readers(later: Caller | None, reason: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_KNOWN_S", 0.0)
    world, guard = World(), Guard(ADA)

    async def read() -> None:
        with world.readers.open(guard, None, None) as reader:
            world.events.publish(EVENTS["for all"])
            assert await reader.next()
            guard.caller = later
            world.events.publish(EVENTS["for all"])
            await reader.next()

    with pytest.raises(ReaderDropped) as caught:
        await read()
    assert caught.value.reason == reason
    assert [left.reason for left in world.recorder.of(ReaderLeft)] == [reason]
    assert last_words(caught.value).fields == {"reason": reason}


async def test_a_key_that_ended_is_shown_nothing_after_a_silence_either(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_KNOWN_S", 0.0)
    monkeypatch.setattr(module, "_SILENCE_S", 0.02)
    world, guard = World(), Guard(ADA)
    with world.readers.open(guard, None, None) as reader:
        assert not await reader.next()
        guard.caller = None
        with pytest.raises(ReaderDropped):
            await reader.next()


async def test_a_key_is_not_looked_up_for_each_event():
    world, guard = World(), Guard(ADA)
    with world.readers.open(guard, None, None) as reader:
        for _ in range(50):
            world.events.publish(EVENTS["for all"])
            await reader.next()
    assert guard.asked < 25


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_reader_that_takes_nothing_is_slow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_TAKE_S", 0.01)
    world = World()
    with pytest.raises(ReaderDropped) as caught, world.open() as reader:
        async with reader.taking():
            await never()
    assert caught.value.reason == "reader.slow"


async def test_stopping_ends_those_that_wait_and_those_that_take_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_STOP_S", 0.05)
    world = World()

    async def read(wait: Callable[[Reader], object]) -> str:
        with world.open(Caller(str(wait), MAY)) as reader:
            try:
                await wait(reader)  # type: ignore[misc]
            except ReaderDropped as dropped:
                return dropped.reason
        raise AssertionError

    async def take(reader: Reader) -> None:
        async with reader.taking():
            await never()

    tasks = [asyncio.create_task(read(wait)) for wait in (Reader.next, take)]
    await asyncio.sleep(0.01)
    world.readers.stop()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 9) == ["server.stopping"] * 2
    with pytest.raises(ServiceStopping):
        world.open()


async def test_one_that_is_far_behind_does_not_read_on_for_ever_when_the_server_stops(monkeypatch: pytest.MonkeyPatch):
    world = World(keep=10_000)
    with world.open() as reader:
        for _ in range(1000):
            world.events.publish(EVENTS["for all"])
        assert len(await reader.next()) == 256
        world.readers.stop()
        assert len(await reader.next()) == 256
        monkeypatch.setattr(world.readers, "_stops_at", 0.0)
        with pytest.raises(ReaderDropped) as caught:
            await reader.next()
    assert caught.value.reason == "server.stopping"


def test_every_subject_can_be_asked_for():
    for subject in SUBJECTS:
        World().open(subjects=[subject])
