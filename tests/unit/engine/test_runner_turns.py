"""Long texts rest while short ones are computed."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.facts import Recorder

from headrace.engine import runner
from headrace.engine.base import Bell, Encoding, Job, JobResult, Output, Steps, TokenBatch
from headrace.engine.batcher import Waiting
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.errors import EngineFailed, HeadraceError, ServiceStopping
from headrace.observe.base import BatchFinished
from headrace.settings import EngineSettings

LONG = " ".join(["long"] * 200)
LAYERS = 6


class Layered(FakeBackend):
    """Stops after each of its layers, and tells what it does.

    Attributes:
        events: The tokens of a batch before each of its layers, and 0 when a long batch is done.
        at_layer: Called with the number of a long batch's layer, before it.
        at_short: Called before a batch of short ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[int] = []
        self.fails_at: int | None = None
        self.at_layer: Callable[[int], None] = lambda _layer: None
        self.at_short: Callable[[], object] = lambda: None

    def run(self, batch: TokenBatch) -> dict[str, NDArray[np.float32]]:
        self.at_short()
        self.events.append(batch.input_ids.shape[1])
        return super().run(batch)

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        for layer in range(LAYERS - 1):
            self.at_layer(layer)
            self.events.append(batch.input_ids.shape[1])
            if layer == self.fails_at:
                raise EngineFailed("in the middle")
            yield
        outputs = super().run(batch)
        self.events.append(0)
        return outputs


class Desk:
    """An engine with one session, and jobs that are handed in while a long text is at some layer."""

    def __init__(self, backend: Layered) -> None:
        self.backend, self.facts = backend, Recorder()
        settings = EngineSettings(runtime="native", token_budget=256, max_wait_s=3600)
        self.engine = LoadedEngine("fake", lambda: FakeTokenizer(512), lambda: backend, settings, self.facts)
        self.jobs: dict[str, asyncio.Task[JobResult]] = {}

    def hand_in(self, *texts: str) -> None:
        for text in texts:
            job = Job(texts=(text,), truncate="error", deadline=time.monotonic() + 3600)
            self.jobs[text] = asyncio.create_task(self.engine.run(job))

    def hand_in_at(self, layer: int, *texts: str) -> None:
        """Hand in texts once, before a layer of a long text, which waits until they are in the queue."""
        loop, before, is_done = asyncio.get_running_loop(), self.backend.at_layer, threading.Event()

        async def put() -> None:
            self.hand_in(*texts)
            waiting = len(self.engine._runner._batcher) + len(texts)
            while len(self.engine._runner._batcher) < waiting:
                await asyncio.sleep(0.001)

        def at_layer(number: int) -> None:
            before(number)
            if number == layer and not is_done.is_set():
                is_done.set()
                asyncio.run_coroutine_threadsafe(put(), loop).result(10)

        self.backend.at_layer = at_layer

    async def item(self, text: str) -> Output | HeadraceError:
        async with asyncio.timeout(10):
            return (await self.jobs[text]).items[0]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk(Layered())
    await made.engine.start()
    yield made
    await made.engine.aclose()


async def alone(text: str) -> bytes:
    desk = Desk(Layered())
    await desk.engine.start()
    desk.hand_in(text)
    item = await desk.item(text)
    await desk.engine.aclose()
    assert isinstance(item, Output)
    return item.arrays["embedding"].tobytes()


async def test_short_texts_that_come_meanwhile_are_answered_before_a_long_one(desk: Desk):
    desk.hand_in_at(2, "a", "b c")
    desk.hand_in(LONG)
    long = await desk.item(LONG)
    assert desk.backend.events == [202, 202, 202, 4, 202, 202, 0]
    for text, item in ((LONG, long), ("a", await desk.item("a")), ("b c", await desk.item("b c"))):
        assert isinstance(item, Output)
        assert item.arrays["embedding"].tobytes() == await alone(text)
    assert [(fact.texts, fact.failed) for fact in desk.facts.of(BatchFinished)] == [(2, 0), (1, 0)]


async def test_a_long_text_that_comes_meanwhile_waits(desk: Desk):
    other = LONG + " other"
    desk.hand_in_at(1, other)
    desk.hand_in(LONG)
    await desk.item(LONG)
    await desk.item(other)
    assert desk.backend.events == [202] * 5 + [0] + [203] * 5 + [0]


async def test_a_long_text_gives_away_no_more_time_than_it_had(desk: Desk):
    desk.backend.delay_s = 0.5  # of a batch of short ones; what a long one does before its last layer takes no time
    desk.hand_in_at(0, "a")
    desk.hand_in_at(1, "b")
    desk.hand_in(LONG)
    await desk.item(LONG)
    await desk.item("b")
    assert desk.backend.events == [202, 3, 202, 202, 202, 202, 0, 3]


async def test_to_rest_is_told_as_waiting(desk: Desk):
    desk.backend.delay_s = 0.2
    desk.hand_in_at(0, "a")
    desk.hand_in(LONG)
    await desk.item(LONG)
    timings = (await desk.jobs[LONG]).timings
    assert timings.queue_s >= 0.2
    (short, long) = desk.facts.of(BatchFinished)
    assert long.run_s == timings.run_s >= 0.2
    assert short.texts == 1


async def test_a_failure_after_a_rest_is_the_long_ones_own(desk: Desk):
    desk.backend.fails_at = 3
    desk.hand_in_at(1, "a")
    desk.hand_in(LONG)
    assert isinstance(await desk.item(LONG), EngineFailed)
    assert isinstance(await desk.item("a"), Output)


async def test_a_failure_of_a_short_one_is_not_the_long_ones(desk: Desk):
    desk.backend.poison = frozenset({"poison"})
    desk.hand_in_at(1, "poison", "a")
    desk.hand_in(LONG)
    assert isinstance(await desk.item(LONG), Output)
    assert isinstance(await desk.item("poison"), EngineFailed)
    assert isinstance(await desk.item("a"), Output)


async def test_a_stop_while_a_long_one_rests_leaves_nobody_waiting():
    desk = Desk(Layered())
    await desk.engine.start()
    desk.hand_in_at(1, "a")
    desk.backend.gate.clear()
    desk.hand_in(LONG)
    while 3 not in desk.backend.events:
        await asyncio.sleep(0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await desk.engine.aclose()
    assert [type(await desk.item(text)) for text in (LONG, "a")] == [ServiceStopping] * 2
    desk.backend.gate.set()


def turn_of(allowed_s: float, waited_s: float, monkeypatch: pytest.MonkeyPatch) -> tuple[runner._Turn, list[float]]:
    """Return the turn of a text that has waited, and the clock that it looks at."""
    clock = [100.0]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    came = clock[0] - waited_s
    text = Waiting(
        encoding=Encoding(ids=(1,), weight=1, truncated=False),
        deadline=came + allowed_s,
        queued_at=came,
        future=asyncio.Future(),
    )
    return runner._Turn([text]), clock


@pytest.mark.parametrize(
    ("allowed_s", "waited_s", "is_patient"),
    [(30, 0, True), (30, 0.9, True), (30, 1.1, False), (1, 0.3, True), (1, 0.5, False), (0, 0.1, False)],
)
async def test_who_has_waited_for_long_or_has_little_time_rests_no_more(
    allowed_s: float, waited_s: float, is_patient: bool, monkeypatch: pytest.MonkeyPatch
):
    turn, _ = turn_of(allowed_s, waited_s, monkeypatch)
    assert turn.is_patient is is_patient


async def test_an_eighth_of_the_time_is_its_own(monkeypatch: pytest.MonkeyPatch):
    turn, clock = turn_of(30, 0, monkeypatch)
    clock[0] += 0.01
    while turn.may_rest:
        with turn.rest():
            clock[0] += 0.001
    assert turn.run_s == pytest.approx(0.01)
    assert turn.rested_s == pytest.approx(0.07, abs=0.0015)


async def test_a_long_text_that_has_waited_does_not_rest(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "_PATIENCE_S", -1.0)
    desk.hand_in(LONG, "a")
    await desk.item(LONG)
    await desk.item("a")
    assert desk.backend.events == [202, 3]  # in one go


async def test_a_long_text_whose_caller_leaves_while_it_rests_is_given_up(desk: Desk):
    desk.hand_in_at(1, "a")
    desk.hand_in(LONG)
    desk.backend.at_short = lambda: desk.jobs[LONG].get_loop().call_soon_threadsafe(desk.jobs[LONG].cancel)
    await asyncio.wait({desk.jobs[LONG]})
    await desk.item("a")
    desk.hand_in("b")
    await desk.item("b")
    assert desk.backend.events == [202, 202, 3, 3]
