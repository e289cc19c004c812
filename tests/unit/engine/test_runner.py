import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import structlog
from tests.support.facts import Recorder

from headrace.engine import runner as runner_module
from headrace.engine.base import Encoding, Job, Output, TokenBatch, Unwatched, split_number
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.runner import pad
from headrace.errors import DeadlineExceeded, EngineFailed, ServiceStopping
from headrace.observe.base import BatchFinished, QueueChanged
from headrace.settings import EngineSettings


def make_engine(backend: FakeBackend, recorder: Recorder | None = None, **settings: int) -> LoadedEngine:
    return LoadedEngine(
        "fake", lambda: FakeTokenizer(64), lambda: backend, EngineSettings(**settings), recorder or Recorder()
    )


def job(*texts: str, seconds: float = 30) -> Job:
    return Job(texts=texts, truncate="truncate", deadline=time.monotonic() + seconds)


class Niceness(FakeBackend):
    """Notes with which priority its thread computes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def run(self, batch: TokenBatch):
        self.found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return super().run(batch)


class Broken(FakeBackend):
    def run(self, batch: TokenBatch):
        raise MemoryError


class Panic(BaseException):
    """What PyO3 raises for a Rust panic is no Exception either."""


class Panicking(FakeBackend):
    def run(self, batch: TokenBatch):
        raise Panic


class FailingFirst(FakeBackend):
    """Fails the first batch and hangs in the second."""

    def run(self, batch: TokenBatch):
        if not self.batches:
            self.batches.append((0, 0))
            raise EngineFailed("the first")
        return super().run(batch)


class Slow(FakeBackend):
    def close(self) -> None:
        self.gate.wait()
        super().close()


class Unreleasable(FakeBackend):
    def close(self) -> None:
        raise MemoryError


class Left(Unwatched):
    """Knows of callers who have left."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()

    def has_left(self, text: int) -> bool:
        return split_number(text)[0] in self.jobs


def test_texts_are_laid_into_a_rectangle_padded_on_the_right():
    batch = pad([Encoding(ids=ids, weight=1, truncated=False) for ids in ([5, 6, 7], [8])])
    np.testing.assert_array_equal(batch.input_ids, [[5, 6, 7], [8, 0, 0]])
    np.testing.assert_array_equal(batch.attention_mask, [[1, 1, 1], [1, 0, 0]])


async def test_an_error_the_backend_does_not_know_is_the_error_of_each_text():
    engine = make_engine(Broken())
    await engine.start()
    items = (await engine.run(job("a", "b"))).items
    assert [type(item) for item in items] == [EngineFailed, EngineFailed]
    with pytest.raises(EngineFailed):
        await engine.probe()
    await engine.aclose()


async def test_a_free_session_does_not_wait_and_a_busy_one_gathers():
    backend, recorder = FakeBackend(), Recorder()
    engine = make_engine(backend, recorder)
    await engine.start()
    backend.gate.clear()
    first = asyncio.create_task(engine.run(job("a")))
    while not backend.batches:
        await asyncio.sleep(0.001)
    rest = [asyncio.create_task(engine.run(job(word))) for word in "bcdef"]
    while len(recorder.of(QueueChanged)) < 7:
        await asyncio.sleep(0.001)
    backend.gate.set()
    await asyncio.gather(first, *rest)
    await engine.aclose()
    assert [texts for texts, _ in backend.batches] == [1, 5]
    assert [fact.texts for fact in recorder.of(BatchFinished)] == [1, 5]
    assert recorder.of(QueueChanged)[-1].waiting == 0


async def test_a_text_that_became_late_in_the_queue_is_not_computed():
    backend = FakeBackend()
    engine = make_engine(backend)
    await engine.start()
    backend.gate.clear()
    first = asyncio.create_task(engine.run(job("a")))
    while not backend.batches:
        await asyncio.sleep(0.001)
    late = asyncio.create_task(engine.run(job("b b b b", seconds=0.01)))
    fresh = asyncio.create_task(engine.run(job("c")))
    await asyncio.sleep(0.05)
    backend.gate.set()
    assert isinstance((await late).items[0], DeadlineExceeded)
    assert isinstance((await fresh).items[0], Output)
    assert isinstance((await first).items[0], Output)
    await engine.aclose()
    assert backend.batches == [(1, 3), (1, 3)]


async def test_facts_about_a_batch_tell_padding_and_failures():
    backend, recorder = FakeBackend(), Recorder()
    backend.nan = frozenset({"nan"})
    engine = make_engine(backend, recorder)
    await engine.start()
    await engine.run(job("a", "b c", "nan"))
    await engine.aclose()
    fact = recorder.of(BatchFinished)[0]
    assert (fact.texts, fact.tokens, fact.padded_tokens, fact.failed) == (3, 10, 12, 1)
    assert fact.run_s > 0


async def test_a_stop_that_is_cut_off_leaves_nobody_waiting():
    backend = Slow()
    engine = make_engine(backend, token_budget=4)
    await engine.start()
    backend.gate.clear()
    running = asyncio.create_task(engine.run(job("a")))
    while not backend.batches:
        await asyncio.sleep(0.001)
    queued = asyncio.create_task(engine.run(job("b")))
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await engine.aclose()
    outcomes = [(await task).items[0] for task in (running, queued)]
    assert [type(outcome) for outcome in outcomes] == [ServiceStopping, ServiceStopping]
    backend.gate.set()


async def test_the_backend_is_closed_in_the_end():
    backend = FakeBackend()
    engine = make_engine(backend)
    await engine.start()
    await engine.aclose()
    assert backend.is_closed


async def test_a_start_that_is_given_up_leaves_no_backend_behind():
    backend, loading, may_load = FakeBackend(), threading.Event(), threading.Event()

    def load() -> FakeBackend:
        loading.set()
        may_load.wait(20)
        return backend

    engine = LoadedEngine("fake", FakeTokenizer, load, EngineSettings(), Recorder())
    starting = asyncio.create_task(engine.start())
    while not loading.is_set():
        await asyncio.sleep(0.001)
    starting.cancel()
    await asyncio.sleep(0.01)
    may_load.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert backend.is_closed
    await engine.aclose()


async def test_an_engine_that_was_not_started_refuses():
    engine = make_engine(FakeBackend())
    with pytest.raises(ServiceStopping):
        await engine.run(job("a"))
    await engine.aclose()


async def test_each_session_has_a_backend_of_its_own():
    made: list[FakeBackend] = []

    def make_backend() -> FakeBackend:
        made.append(FakeBackend())
        return made[-1]

    engine = LoadedEngine("fake", FakeTokenizer, make_backend, EngineSettings(sessions=3), Recorder())
    await engine.start()
    await engine.aclose()
    assert [backend.is_closed for backend in made] == [True] * 3


async def test_a_panic_in_native_code_is_the_error_of_its_text_and_the_session_lives():
    engine = make_engine(Panicking())
    await engine.start()
    for _ in range(2):
        async with asyncio.timeout(5):
            assert isinstance((await engine.run(job("a"))).items[0], EngineFailed)
    await engine.aclose()


async def test_a_stop_during_a_split_leaves_nobody_waiting():
    backend = FailingFirst()
    engine = make_engine(backend)
    await engine.start()
    backend.gate.clear()
    running = asyncio.create_task(engine.run(job("a", "b", "c", "d")))
    while len(backend.batches) < 2:
        await asyncio.sleep(0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await engine.aclose()
    async with asyncio.timeout(5):
        assert [type(item) for item in (await running).items] == [ServiceStopping] * 4
    backend.gate.set()


async def test_a_stop_after_one_that_was_cut_off_is_quiet():
    backend = Slow()
    engine = make_engine(backend)
    await engine.start()
    backend.gate.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await engine.aclose()
    backend.gate.set()
    await engine.aclose()


async def test_what_the_runtime_raises_when_it_is_released_is_told_by_the_stop():
    engine = make_engine(Unreleasable())
    await engine.start()
    with pytest.raises(MemoryError):
        await engine.aclose()


async def test_texts_whose_callers_left_since_the_batch_was_formed_are_not_computed():
    backend, recorder, left = FakeBackend(), Recorder(), Left()
    engine = LoadedEngine("fake", FakeTokenizer, lambda: backend, EngineSettings(), recorder, left)
    await engine.start()
    one, two = job("a", "b"), job("c")
    left.jobs = {one.number}
    results = await asyncio.gather(engine.run(one), engine.run(two), engine.run(job("d")))
    left.jobs = {two.number}
    alone = await engine.run(two)
    await engine.aclose()
    assert [len(result.items) for result in results] == [2, 1, 1]
    assert all(isinstance(item, ServiceStopping) for item in (*results[0].items, *alone.items))
    assert sum(texts for texts, _ in backend.batches) == 2
    assert sum(fact.texts for fact in recorder.of(BatchFinished)) == 2


async def test_the_windows_of_a_text_are_one_text_in_the_facts():
    recorder = Recorder()
    engine = LoadedEngine("fake", lambda: FakeTokenizer(4), FakeBackend, EngineSettings(), recorder)
    await engine.start()
    await engine.run(Job(texts=("a b c d e f", "g"), truncate="chunk", deadline=time.monotonic() + 30))
    await engine.aclose()
    (fact,) = recorder.of(BatchFinished)
    assert (fact.texts, fact.failed) == (2, 0)


async def test_callers_that_left_hold_no_place_in_the_queue():
    backend, recorder = FakeBackend(), Recorder()
    engine = make_engine(backend, recorder, max_queued_texts=8)
    await engine.start()
    backend.gate.clear()
    blocking = asyncio.create_task(engine.run(job("a")))
    while not backend.batches:
        await asyncio.sleep(0.001)
    for _ in range(50):
        leaving = asyncio.create_task(engine.run(job(*"bcdef")))
        await asyncio.sleep(0.005)
        leaving.cancel()
        await asyncio.wait({leaving})
    assert len(engine._runner._batcher) == 0
    backend.gate.set()
    await blocking
    await engine.aclose()
    assert [texts for texts, _ in backend.batches] == [1]
    assert recorder.of(QueueChanged)[-1].waiting == 0


async def test_a_text_does_not_keep_its_batch_in_memory():
    engine = make_engine(FakeBackend())
    await engine.start()
    item = (await engine.run(job("a", "b", "c"))).items[0]
    assert isinstance(item, Output)
    assert all(array.base is None for array in item.arrays.values())
    await engine.aclose()


class Watched(Unwatched):
    """Stands for a supervisor: whoever is watched computes a short batch in its own loop."""


def watched_engine(backend: FakeBackend) -> LoadedEngine:
    return LoadedEngine("fake", lambda: FakeTokenizer(64), lambda: backend, EngineSettings(), Recorder(), Watched())


class Timed(FakeBackend):
    """Notes in which threads it runs, on a clock that it alone moves."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.now = time.monotonic()
        self.takes_s = 0.0

    def run(self, batch: TokenBatch):
        self.threads.append(threading.current_thread().name)
        self.now += self.takes_s
        return super().run(batch)


@pytest.mark.parametrize(("make", "expected"), [(watched_engine, "MainThread"), (make_engine, "headrace-fake-0_0")])
async def test_a_short_batch_is_computed_in_a_loop_of_its_own_once_it_is_known_to_be_quick(
    make: Callable[[FakeBackend], LoadedEngine], expected: str, monkeypatch: pytest.MonkeyPatch
):
    backend = Timed()
    monkeypatch.setattr(runner_module, "time", SimpleNamespace(monotonic=lambda: backend.now))
    engine = make(backend)
    await engine.start()
    for takes_s in (0.0, 0.0, 0.01, 0.0):  # the third is too slow; that shows with the next one
        backend.takes_s = takes_s
        await engine.run(job("w1"))
    await engine.aclose()
    thread = "headrace-fake-0_0"
    assert backend.threads == [thread, expected, expected, thread]


@pytest.mark.parametrize("make", [watched_engine, make_engine])
async def test_the_error_that_is_logged_does_not_drag_along_those_of_the_larger_batches(
    make: Callable[[FakeBackend], LoadedEngine],
):
    backend = FakeBackend()
    backend.poison = frozenset({"poison"})
    engine = make(backend)
    await engine.start()
    await engine.run(job("w1"))
    with structlog.testing.capture_logs() as logs:
        await engine.run(job(*(f"w{number}" for number in range(20)), "poison"))
    await engine.aclose()
    (failed,) = [line for line in logs if line["event"] == "engine.text_failed"]
    assert failed["exc_info"].__context__ is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process has a priority, not a thread")
async def test_threads_that_compute_let_those_that_answer_go_first():
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    backend = Niceness()
    engine = make_engine(backend, sessions=1)
    await engine.start()
    await engine.run(job("a"))
    await engine.aclose()
    assert backend.found == [min(19, own + 10)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
