import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.facts import Recorder
from tests.support.remote import receive

from headrace.engine import wire
from headrace.engine.base import Job, JobResult, Output
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.outbox import Outbox
from headrace.engine.wire import Message
from headrace.engine.worker import Connection, FactSender, Handles
from headrace.errors import EngineFailed, HeadraceError, InputTooLong
from headrace.observe.base import TextQuarantined
from headrace.settings import EngineSettings


def run_message(*texts: str, number: int = 1, seconds: float = 30) -> wire.Run:
    return wire.Run(Job(texts=texts, truncate="error", deadline=time.monotonic() + seconds, number=number))


class Broken(LoadedEngine):
    """An engine with a mistake."""

    async def run(self, job: Job) -> JobResult:
        raise ZeroDivisionError

    async def probe(self) -> None:
        raise EngineFailed("the model does not answer")


class Client:
    """The other end of a worker's connection."""

    def __init__(self, kind: type[LoadedEngine] = LoadedEngine) -> None:
        self.backend = FakeBackend()
        self.engine = kind("m", lambda: FakeTokenizer(16), lambda: self.backend, EngineSettings(), Recorder())

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        self.reader, self.writer = await asyncio.open_connection(sock=ours)
        await self.engine.start()
        self.outbox = Outbox()
        self.connection = Connection(self.engine, self.outbox)
        self.serving = asyncio.create_task(self.connection.serve(theirs))

    async def stop(self) -> None:
        self.backend.gate.set()
        self.writer.close()
        await asyncio.wait([self.serving])
        await self.engine.aclose()
        self.outbox.close()
        await asyncio.sleep(0)

    def say(self, *messages: Message) -> None:
        self.writer.write(b"".join(map(wire.encode, messages)))

    async def hear(self) -> Message | None:
        return await receive(self.reader)

    async def hear_error(self) -> HeadraceError:
        message = await self.hear()
        assert isinstance(message, wire.Refused)
        return message.error


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    await client.start()
    yield client
    await client.stop()


@pytest.fixture
async def broken() -> AsyncIterator[Client]:
    client = Client(Broken)
    await client.start()
    yield client
    await client.stop()


def test_handles_are_the_last_words_of_the_command_line():
    handles = Handles(stream=5, activity=7, slots=2, max_texts=2048)
    assert Handles.parse(["program", "folder", *handles.words()]) == handles


async def test_a_job_and_a_probe_are_answered_under_their_numbers(client: Client):
    client.say(run_message("a", "b " * 20, number=8))
    message = await client.hear()
    assert isinstance(message, wire.Done)
    assert message.number == 8
    assert [type(item) for item in message.result.items] == [Output, InputTooLong]
    client.say(wire.Probe(9))
    assert await client.hear() == wire.Probed(9)


async def test_a_mistake_in_the_engine_is_an_answer_too(broken: Client):
    broken.say(run_message("a"))
    assert isinstance(await broken.hear_error(), EngineFailed)
    broken.say(wire.Probe(2))
    assert (await broken.hear_error()).message == "the model does not answer"


async def test_what_is_not_for_a_worker_is_ignored(client: Client):
    client.say(wire.Cancel(77), wire.Ready(), wire.Probe(3))
    assert await client.hear() == wire.Probed(3)


async def test_a_job_cancelled_in_the_same_breath_is_not_computed(client: Client):
    client.say(run_message("a", number=1), wire.Cancel(1), wire.Probe(2))
    assert await client.hear() == wire.Probed(2)
    assert client.backend.batches == [(1, 5)]
    assert client.connection._tasks == {}


async def test_what_was_asked_is_dropped_when_the_other_end_hangs_up(client: Client):
    client.backend.gate.clear()
    client.say(run_message("a", number=1))
    while not client.backend.batches:
        await asyncio.sleep(0.001)
    client.say(run_message("b b b b", number=2))
    while client.engine._admission.texts < 2:
        await asyncio.sleep(0.001)
    client.writer.close()
    await client.serving
    client.backend.gate.set()
    await client.engine.aclose()
    assert client.backend.batches == [(1, 3)]
    assert client.connection._tasks == {}


async def test_a_frame_that_is_none_ends_the_connection(client: Client):
    client.writer.write(b"\xff" * 8)
    with pytest.raises(ValueError, match="over the bounds"):
        await client.serving


async def test_facts_that_do_not_come_from_an_engine_do_not_travel(client: Client):
    FactSender(client.outbox).observe(TextQuarantined(model="m", digest="0"))
    client.say(wire.Probe(1))
    assert await client.hear() == wire.Probed(1)


async def test_a_worker_that_is_stopped_hangs_up(client: Client):
    client.serving.cancel()
    assert await client.hear() is None
