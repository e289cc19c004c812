import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.facts import Recorder
from tests.support.remote import all_hung_up, connect_to, receive, scripted

from headrace.engine import wire
from headrace.engine.base import Engine, Job, JobResult, Output
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.remote import RemoteEngine
from headrace.engine.wire import Cancel, Message, Probe, Run
from headrace.errors import EngineUnavailable, ModelCorrupt, QueueFull, RequestTooLarge, ServiceStopping
from headrace.observe.base import BatchFinished, Observer, QueueChanged
from headrace.settings import EngineSettings
from headrace.types import Timings


def job(*texts: str, seconds: float = 30) -> Job:
    return Job(texts=texts, truncate="truncate", deadline=time.monotonic() + seconds)


class Script:
    """Plays the engine, message by message."""

    def __init__(self, engine: RemoteEngine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.engine = engine
        self.reader = reader
        self.writer = writer

    def say(self, message: Message) -> None:
        self.writer.write(wire.encode(message))

    async def hear(self) -> Message | None:
        return await receive(self.reader)

    async def start(self) -> None:
        self.say(wire.Ready())
        await self.engine.start()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as (connect, reader, writer):
        engine = RemoteEngine("m", connect, Recorder())
        yield Script(engine, reader, writer)
        engine.abort()
        await asyncio.sleep(0)  # the transport lets go of its socket in the next turn


async def test_an_engine_is_ready_from_its_word_to_its_end(script: Script):
    assert not script.engine.is_ready
    await script.start()
    assert script.engine.is_ready
    script.writer.close()
    await script.engine.lost.wait()
    assert not script.engine.is_ready


async def test_what_stopped_the_model_from_loading_is_raised_as_it_was(script: Script):
    script.say(wire.StartFailed(ModelCorrupt("model.onnx has another SHA-256")))
    with pytest.raises(ModelCorrupt, match=r"model\.onnx has another SHA-256"):
        await script.engine.start()
    assert await script.hear() is None


async def test_an_engine_that_hangs_up_while_it_starts_is_unavailable(script: Script):
    script.writer.close()
    with pytest.raises(EngineUnavailable, match="died while it started"):
        await script.engine.start()


@pytest.mark.parametrize("greeting", [wire.Ready(version=wire.VERSION - 1), wire.Probed(1)])
async def test_another_version_is_refused(script: Script, greeting: Message):
    script.say(greeting)
    with pytest.raises(EngineUnavailable, match=f"version {wire.VERSION}"):
        await script.engine.start()
    assert await script.hear() is None


async def test_answers_may_come_in_any_order(script: Script):
    await script.start()
    first, second = (asyncio.create_task(script.engine.run(job(word))) for word in "ab")
    asked = [await script.hear(), await script.hear()]
    numbers = [message.job.number for message in asked if isinstance(message, Run)]
    for run_s, number in ((2.0, numbers[1]), (1.0, numbers[0])):
        script.say(wire.Done(number, JobResult(items=(), timings=Timings(run_s=run_s))))
    assert [(await task).timings.run_s for task in (first, second)] == [1.0, 2.0]


async def test_a_refusal_is_raised_as_the_class_it_was(script: Script):
    await script.start()
    task = asyncio.create_task(script.engine.run(job("a")))
    asked = await script.hear()
    assert isinstance(asked, Run)
    script.say(wire.Refused(asked.job.number, QueueFull("full", retry_after_s=3)))
    with pytest.raises(QueueFull) as refused:
        await task
    assert refused.value.retry_after_s == 3


async def test_a_caller_that_leaves_is_told_and_its_answer_dropped(script: Script):
    await script.start()
    task = asyncio.create_task(script.engine.run(job("a")))
    asked = await script.hear()
    assert isinstance(asked, Run)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await script.hear() == Cancel(asked.job.number)
    script.say(wire.Done(asked.job.number, JobResult(items=(), timings=Timings())))
    script.say(wire.Refused(asked.job.number, QueueFull("full")))
    probe = asyncio.create_task(script.engine.probe())
    asked_again = await script.hear()
    assert isinstance(asked_again, Probe)
    script.say(wire.Probed(asked_again.number))
    await probe


async def test_a_lost_connection_fails_who_waits_and_who_comes(script: Script):
    await script.start()
    task = asyncio.create_task(script.engine.run(job("a")))
    await script.hear()
    script.writer.close()
    with pytest.raises(EngineUnavailable):
        await task
    with pytest.raises(EngineUnavailable):
        await script.engine.run(job("b"))
    await script.engine.aclose()


@pytest.mark.parametrize("junk", [struct.pack("<II", 2**32 - 1, 0), struct.pack("<II", 2, 0) + b"{}"])
async def test_a_frame_that_cannot_be_read_ends_the_connection(script: Script, junk: bytes):
    await script.start()
    task = asyncio.create_task(script.engine.run(job("a")))
    await script.hear()
    script.writer.write(junk)
    with pytest.raises(EngineUnavailable):
        await task
    assert await script.hear() is None


async def test_a_message_out_of_place_is_ignored(script: Script):
    await script.start()
    script.say(wire.Ready())
    task = asyncio.create_task(script.engine.run(job("a")))
    asked = await script.hear()
    assert isinstance(asked, Run)
    script.say(wire.Done(asked.job.number, JobResult(items=(), timings=Timings())))
    await task


async def test_an_answer_of_the_wrong_kind_is_no_answer(script: Script):
    await script.start()
    task = asyncio.create_task(script.engine.run(job("a")))
    asked = await script.hear()
    assert isinstance(asked, Run)
    script.say(wire.Probed(asked.job.number))
    with pytest.raises(EngineUnavailable, match="confused"):
        await task


async def test_a_job_larger_than_a_message_is_refused(script: Script, monkeypatch: pytest.MonkeyPatch):
    await script.start()
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 10)
    with pytest.raises(RequestTooLarge):
        await script.engine.run(job("x" * 11))


async def test_silence_is_measured_only_while_an_answer_is_awaited(script: Script):
    await script.start()
    assert script.engine.silence_s(time.monotonic() + 100) == 0
    task = asyncio.create_task(script.engine.run(job("a")))
    await script.hear()
    assert 99 < script.engine.silence_s(time.monotonic() + 100) <= 101
    task.cancel()
    await asyncio.wait([task])
    assert script.engine.silence_s(time.monotonic() + 100) == 0


async def test_an_engine_that_was_not_started_is_unavailable_and_closes(script: Script):
    with pytest.raises(EngineUnavailable):
        await script.engine.run(job("a"))
    await script.engine.aclose()
    with pytest.raises(ServiceStopping):
        await script.engine.run(job("a"))


class FakeAtTheEnd:
    """A fake engine, and what a test looks at."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.recorder = Recorder()
        self.made: list[LoadedEngine] = []

    def make(self, observer: Observer) -> Engine:
        self.made.append(LoadedEngine("m", FakeTokenizer, lambda: self.backend, EngineSettings(), observer))
        return self.made[-1]


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeAtTheEnd, RemoteEngine]]:
    fake = FakeAtTheEnd()
    engine = RemoteEngine("m", connect_to(fake.make, socket.AF_UNIX), fake.recorder)
    await engine.start()
    yield fake, engine
    fake.backend.gate.set()
    await engine.aclose()
    await all_hung_up()


async def test_facts_of_the_other_end_are_heard_here(fake: tuple[FakeAtTheEnd, RemoteEngine]):
    other, engine = fake
    await engine.run(job("a", "b c"))
    (fact,) = other.recorder.of(BatchFinished)
    assert (fact.model, fact.texts, fact.tokens, fact.padded_tokens, fact.failed) == ("m", 2, 7, 8, 0)
    assert other.recorder.of(QueueChanged) == []  # it was empty before and is again: that is no news


async def test_the_length_of_the_queue_is_told_also_when_nothing_else_is(fake: tuple[FakeAtTheEnd, RemoteEngine]):
    other, engine = fake
    other.backend.gate.clear()
    tasks = [asyncio.create_task(engine.run(job("a")))]
    while not other.backend.batches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(engine.run(job(word))) for word in "bc"]
    while not other.recorder.of(QueueChanged) or other.recorder.of(QueueChanged)[-1].waiting != 2:
        await asyncio.sleep(0.01)
    other.backend.gate.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_job_is_not_computed(fake: tuple[FakeAtTheEnd, RemoteEngine]):
    other, engine = fake
    other.backend.gate.clear()
    first = asyncio.create_task(engine.run(job("a")))
    while not other.backend.batches:
        await asyncio.sleep(0.001)
    left = asyncio.create_task(engine.run(job("b b b b b")))
    while other.made[0]._admission.texts < 2:
        await asyncio.sleep(0.001)
    left.cancel()
    while other.made[0]._admission.texts > 1:
        await asyncio.sleep(0.001)
    other.backend.gate.set()
    await first
    await engine.probe()
    assert other.backend.batches == [(1, 3), (1, 5)]


async def test_the_same_job_may_run_twice_at_a_time(fake: tuple[FakeAtTheEnd, RemoteEngine]):
    _, engine = fake
    same = job("a")
    results = await asyncio.gather(engine.run(same), engine.run(same))
    assert all(isinstance(result.items[0], Output) for result in results)


async def test_an_answer_larger_than_a_message_is_an_error_and_not_silence(
    fake: tuple[FakeAtTheEnd, RemoteEngine], monkeypatch: pytest.MonkeyPatch
):
    _, engine = fake
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 20)
    with pytest.raises(Exception, match="the engine failed"):
        await engine.run(job("a"))
