"""A text in several windows, and a job in several slices: what becomes of them in an engine."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.facts import Recorder
from tests.support.supervised import UNHURRIED, is_up, running, supervise_fake

from headrace.engine import loaded
from headrace.engine.activity import make_activity
from headrace.engine.base import Encoding, Job, Output
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine, slice_texts
from headrace.errors import (
    DeadlineExceeded,
    EngineFailed,
    HeadraceError,
    InputQuarantined,
    RequestInvalid,
    ServiceStopping,
)
from headrace.observe.base import BatchFinished, EngineRestarted
from headrace.options import Truncate
from headrace.settings import EngineSettings
from headrace.types import Text


def job(*texts: str, seconds: float = 30) -> Job:
    return Job(texts=texts, truncate="chunk", deadline=time.monotonic() + seconds)


def numbered(count: int, word: str = "w") -> str:
    return " ".join(f"{word}{number}" for number in range(count))


class Watched:
    """Notes what native code works on."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[int], int]] = []

    def has_left(self, text: int) -> bool:
        return False

    @contextlib.contextmanager
    def running(self, slot: int, texts: Sequence[int], tokens: int) -> Iterator[None]:
        self.seen.append((slot, list(texts), tokens))
        yield


class Where(FakeTokenizer):
    """Notes whether it is called in the event loop."""

    def __init__(self, max_tokens: int) -> None:
        super().__init__(max_tokens)
        self.in_loop: list[bool] = []

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        return super().encode(texts, truncate)


class GatedTokenizer(FakeTokenizer):
    """Notes its slices, and waits before each one."""

    def __init__(self) -> None:
        super().__init__(16)
        self.slices: list[tuple[Text, ...]] = []
        self.gate = threading.Semaphore(0)

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        self.slices.append(tuple(texts))
        assert self.gate.acquire(timeout=30)
        return super().encode(texts, truncate)


@contextlib.asynccontextmanager
async def fake_engine(backend: FakeBackend, tokenizer: FakeTokenizer | None = None, watched: Watched | None = None):
    engine = LoadedEngine(
        "fake",
        lambda: tokenizer or FakeTokenizer(16),
        lambda: backend,
        EngineSettings(token_budget=64),
        Recorder(),
        watched or Watched(),
    )
    await engine.start()
    yield engine
    backend.gate.set()
    await engine.aclose()


async def until_running(backend: FakeBackend) -> None:
    while not backend.batches:
        await asyncio.sleep(0.001)


@given(st.lists(st.text(max_size=6), max_size=30))
def test_slices_hold_every_text_once_and_few_characters(texts: list[str]):
    original, loaded._SLICE_CHARS = loaded._SLICE_CHARS, 8  # type: ignore[misc]
    try:
        slices = list(slice_texts(texts))
    finally:
        loaded._SLICE_CHARS = original  # type: ignore[misc]
    assert [index for part in slices for index in part] == list(range(len(texts)))
    assert all(sum(len(texts[index]) for index in part) <= 8 for part in slices)
    for one, other in itertools.pairwise(slices):
        assert sum(len(texts[index]) for index in (*one, other.start)) > 8


def test_a_text_over_the_bound_is_a_slice_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "_SLICE_CHARS", 8)
    assert list(slice_texts(["ab", "x" * 20, "", "cd"])) == [range(1), range(1, 2), range(2, 4)]


async def test_a_small_job_waits_for_one_slice_of_a_large_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "_SLICE_CHARS", 8)
    tokenizer = GatedTokenizer()
    async with fake_engine(FakeBackend(), tokenizer) as engine:
        large = asyncio.create_task(engine.run(job(*["wwww"] * 20)))
        while not tokenizer.slices:
            await asyncio.sleep(0.001)
        small = asyncio.create_task(engine.run(job("v")))
        await asyncio.sleep(0)
        tokenizer.gate.release(2)
        assert isinstance((await small).items[0], Output)
        assert not large.done()
        tokenizer.gate.release(9)
        assert len((await large).items) == 20
        assert tokenizer.slices[:3] == [("wwww", "wwww"), ("v",), ("wwww", "wwww")]


async def test_a_job_whose_caller_leaves_is_not_tokenized_to_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "_SLICE_CHARS", 1)
    monkeypatch.setattr(loaded, "_AT_ONCE_TEXTS", 0)
    tokenizer = GatedTokenizer()
    async with fake_engine(FakeBackend(), tokenizer) as engine:
        leaving = asyncio.create_task(engine.run(job("a", "b", "c")))
        while not tokenizer.slices:
            await asyncio.sleep(0.001)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        tokenizer.gate.release(2)
        await engine.run(job("d"))
        assert tokenizer.slices == [("a",), ("d",)]


async def test_a_small_job_is_tokenized_in_the_loop_and_a_larger_one_in_the_thread():
    tokenizer = Where(16)
    async with fake_engine(FakeBackend(), tokenizer) as engine:
        for texts in (["v"], ["v" * 256], ["v"] * 8, ["v" * 257], ["v"] * 9):
            await engine.run(job(*texts))
    assert tokenizer.in_loop == [True, True, True, False, False]


async def test_nothing_is_tokenized_in_a_loop_that_others_use():
    tokenizer = Where(16)
    engine = LoadedEngine("fake", lambda: tokenizer, FakeBackend, EngineSettings(), Recorder())
    await engine.start()
    await engine.run(job("v"))
    await engine.aclose()
    assert tokenizer.in_loop == [False]


async def test_what_fails_in_the_loop_fails_its_job_alone():
    class Panicking(FakeTokenizer):
        def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
            if "panic" in texts:
                raise Panic
            return super().encode(texts, truncate)

    class Panic(BaseException):
        """What PyO3 raises for a panic in Rust is no Exception either."""

    async with fake_engine(FakeBackend(), Panicking(16)) as engine:
        with pytest.raises(EngineFailed):
            await engine.run(job("panic"))
        assert isinstance((await engine.run(job("v"))).items[0], Output)


async def test_a_job_that_is_cut_off_between_two_slices_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "_SLICE_CHARS", 1)
    monkeypatch.setattr(loaded, "_AT_ONCE_TEXTS", 0)
    tokenizer = GatedTokenizer()
    engine = LoadedEngine("fake", lambda: tokenizer, FakeBackend, EngineSettings(), Recorder())
    await engine.start()
    cut_off = asyncio.create_task(engine.run(job("a", "b")))
    while not tokenizer.slices:
        await asyncio.sleep(0.001)
    closing = asyncio.create_task(engine.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    tokenizer.gate.release(2)
    with pytest.raises(ServiceStopping, match="has stopped"):
        await cut_off
    assert tokenizer.slices == [("a",)]


async def test_every_slice_and_every_batch_says_which_texts_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "_SLICE_CHARS", 8)
    monkeypatch.setattr(loaded, "_AT_ONCE_TEXTS", 0)
    watched, asked = Watched(), job("abcd", "efgh", numbered(40), "i")
    async with fake_engine(FakeBackend(), watched=watched) as engine:
        await engine.run(asked)
    numbers = [asked.number * (1 << 20) + index for index in range(4)]
    tokenized = [(texts, chars) for slot, texts, chars in watched.seen if slot == 0]
    assert tokenized == [(numbers[:2], 8), (numbers[2:3], len(asked.texts[2])), (numbers[3:], 1)]
    ran = [texts for slot, texts, _ in watched.seen if slot == 1]
    assert all(len(set(texts)) == len(texts) for texts in ran)
    assert sum(numbers[2] in texts for texts in ran) == 1  # of four windows, four fit into a batch of 64 tokens


async def test_more_windows_than_texts_may_wait_fit_into_the_memory_that_is_shared():
    activity = make_activity(slots=2, max_texts=1)
    settings = EngineSettings(max_queued_texts=1)
    engine = LoadedEngine("fake", FakeTokenizer, FakeBackend, settings, Recorder(), activity)
    await engine.start()
    (item,) = (await engine.run(job(numbered(900)))).items
    await engine.aclose()
    activity.close()
    assert isinstance(item, Output)
    assert len(item.windows) == 17


async def test_a_short_text_runs_between_the_windows_of_a_long_one():
    backend = FakeBackend()
    async with fake_engine(backend) as engine:
        backend.gate.clear()
        long = asyncio.create_task(engine.run(job(numbered(20_000))))
        await until_running(backend)
        short = asyncio.create_task(engine.run(job("v")))
        await asyncio.sleep(0.01)
        backend.gate.set()
        assert isinstance((await short).items[0], Output)
        ran = len(backend.batches)
        await long
        assert ran < len(backend.batches) / 2


async def test_the_other_windows_of_a_text_that_failed_are_not_computed():
    backend = FakeBackend()
    backend.poison = frozenset({"w0"})
    async with fake_engine(backend) as engine:
        items = (await engine.run(job(numbered(2000)))).items
        assert isinstance(items[0], EngineFailed)
        assert sum(texts for texts, _ in backend.batches) < 20  # of 154: the batch that failed, and its halves


async def test_the_windows_of_a_caller_that_leaves_are_dropped():
    backend = FakeBackend()
    async with fake_engine(backend) as engine:
        backend.gate.clear()
        leaving = asyncio.create_task(engine.run(job(numbered(400))))
        await until_running(backend)
        leaving.cancel()
        await asyncio.wait([leaving])
        backend.gate.set()
        assert isinstance((await engine.run(job("v"))).items[0], Output)
        assert [shape for shape in backend.batches if shape[1] == 16] == [(4, 16)]


async def test_a_deadline_that_passes_in_the_middle_fails_the_text():
    backend = FakeBackend()
    async with fake_engine(backend) as engine:
        backend.gate.clear()
        late = asyncio.create_task(engine.run(job(numbered(400), seconds=0.05)))
        await until_running(backend)
        await asyncio.sleep(0.06)
        backend.gate.set()
        assert isinstance((await late).items[0], DeadlineExceeded)
        assert len(backend.batches) == 1


async def test_a_job_of_nothing_but_errors_needs_no_session():
    backend = FakeBackend()
    async with fake_engine(backend) as engine:
        result = await engine.run(job("\ud800", "\udfff"))
        assert [type(item) for item in result.items] == [RequestInvalid, RequestInvalid]
        assert backend.batches == []


async def test_times_are_those_of_the_slowest_window():
    backend = FakeBackend()
    backend.delay_s = 0.01
    async with fake_engine(backend) as engine:
        timings = (await engine.run(job(numbered(100)))).timings
        assert timings.run_s >= 0.01
        assert timings.queue_s >= 0.01  # the last batch waited for the one before


async def test_a_long_text_that_kills_the_engine_is_quarantined_and_its_neighbours_are_answered():
    recorder = Recorder()
    patience = replace(UNHURRIED, pause_s=0.05)
    async with running(supervise_fake(recorder=recorder, patience=patience)) as engine:
        texts = (numbered(60), numbered(30) + " segv " + numbered(30), "w1")
        items = (await engine.run(job(*texts))).items
        assert [type(item) for item in items] == [Output, InputQuarantined, Output]
        assert isinstance(items[0], Output)
        assert len(items[0].windows) == 5
        await is_up(engine)
        assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["SIGSEGV", "SIGSEGV"]
        assert recorder.of(BatchFinished)
