"""Everything that can happen to a queue, in any order: jobs come, leave and are late, batches fail, the engine stops.

The threads of the engine do their work when the machine says so, so a batch runs as long as the machine likes.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from numpy.typing import NDArray
from tests.contracts.engine import vector
from tests.support.facts import Recorder
from tests.support.stepped import Clock, SteppedExecutor, SteppedLoop, SteppedThreads, step_package

from headrace.engine import batcher
from headrace.engine.admission import Admission
from headrace.engine.base import Bell, Job, JobResult, Output, Steps, TokenBatch, complete
from headrace.engine.fake import FakeBackend, FakeTokenizer, token_id
from headrace.engine.loaded import LoadedEngine
from headrace.engine.plan import Runtime
from headrace.errors import (
    DeadlineExceeded,
    EngineFailed,
    HeadraceError,
    InputTooLong,
    OutputInvalid,
    QueueFull,
    RequestTooLarge,
    ServiceStopping,
)
from headrace.settings import EngineSettings

MAX_QUEUED = 12
WINDOW = 16
LONG = 8
FOREVER_S = 1e6
INDEX = st.integers(0, 99)
KINDS = st.sampled_from(["w", "w", "w w w", "w w w w w w w w", "poison", "nan", "w " * WINDOW])
STEPS = settings(
    max_examples=120,
    phases=[Phase.generate],  # to make a case small takes minutes; run with a larger `phases` to look into one
    stateful_step_count=30,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(STEPS, max_examples=600, report_multiple_bugs=False)


@dataclass(eq=False)
class Text:
    """One text, and what became of it in the runtime.

    Attributes:
        runs: For each run, whether it succeeded and whether the text was alone.
    """

    words: str
    job: "Asked"
    runs: list[tuple[bool, bool]] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        return not {"poison", "nan"} & set(self.words.split())


@dataclass(eq=False)
class Asked:
    """A job.

    Attributes:
        has_left: Whether its caller has left.
    """

    deadline: float
    texts: list[Text] = field(default_factory=list)
    has_left: bool = False
    task: "asyncio.Task[JobResult]" = field(init=False)


class ScriptedBackend(FakeBackend):
    """Tells the machine what runs, and fails when it is told to."""

    def __init__(self, machine: "EngineMachine") -> None:
        super().__init__()
        self.poison, self.nan = frozenset({"poison"}), frozenset({"nan"})
        self._machine = machine

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        return complete(self._compute(batch, 1))

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        return self._compute(batch, 3)

    def _compute(self, batch: TokenBatch, steps: int) -> Steps:
        texts = [self._machine.by_token[ids[1]] for ids in batch.input_ids.tolist()]
        self._machine.on_run(texts)
        for _ in range(steps - 1):
            yield
        for text in texts:
            text.runs.append((False, len(texts) == 1))
        if self._machine.crashes_next:
            self._machine.crashes_next = False
            raise MemoryError
        outputs = super().run(batch)
        for text in texts:
            text.runs[-1] = (True, len(texts) == 1)
        if self._machine.leaving is not None:
            self._machine.let_leave(self._machine.leaving)
        return outputs


class EngineMachine(RuleBasedStateMachine):
    """A loaded engine in which nothing happens but what a rule says."""

    break_it: Callable[[pytest.MonkeyPatch], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.threads = SteppedThreads(self.clock)
        self.loop = SteppedLoop(self.clock)
        self.patch = pytest.MonkeyPatch()
        step_package(self.patch, "headrace.engine", self.clock, self.threads)
        self.patch.setattr(batcher, "_LONG_TOKENS", LONG)
        self.patch.setattr(Admission.__init__, "__defaults__", (self.clock.monotonic,))  # bound when it was imported
        if self.break_it is not None:
            self.break_it(self.patch)
        self.live: list[Asked] = []
        self.by_token: dict[int, Text] = {}
        self.names = (f"t{number}" for number in itertools.count())
        self.violations: list[str] = []
        self.crashes_next = self.is_cut_off = False
        self.leaving: Asked | None = None  # whose caller leaves while a batch is computed
        self.backends: list[ScriptedBackend] = []
        self.closing: asyncio.Task[None] | None = None
        self.stepping: SteppedExecutor | None = None

    @initialize(
        sessions=st.integers(1, 2),
        token_budget=st.sampled_from([8, 24, 1024]),
        runtime=st.sampled_from(["native", "onnxruntime"]),
        at_once=st.booleans(),
    )
    def start(self, sessions: int, token_budget: int, runtime: Runtime, at_once: bool) -> None:
        options = EngineSettings(
            sessions=sessions, token_budget=token_budget, runtime=runtime, max_queued_texts=MAX_QUEUED
        )
        self.engine = LoadedEngine("fake", lambda: FakeTokenizer(WINDOW), self.make_backend, options, Recorder())
        self.engine._has_own_loop = at_once  # else all is tokenized when a step says so
        self.finish(self.loop.create_task(self.engine.start()))

    def make_backend(self) -> ScriptedBackend:
        self.backends.append(ScriptedBackend(self))
        return self.backends[-1]

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=5), seconds=st.integers(1, 4))
    def submit(self, kinds: list[str], seconds: int) -> None:
        self.ask(kinds, seconds)

    def ask(self, kinds: list[str], seconds: float) -> Asked:
        asked = Asked(self.clock.now + seconds)
        asked.texts = [Text(f"{next(self.names)} {kind}", asked) for kind in kinds]
        self.by_token |= {token_id(text.words.split()[0]): text for text in asked.texts}
        job = Job(texts=tuple(text.words for text in asked.texts), truncate="error", deadline=asked.deadline)
        asked.task = self.loop.create_task(self.engine.run(job))
        self.live.append(asked)
        self.settle()
        return asked

    @precondition(lambda self: self.threads.busy)
    @rule(index=INDEX)
    def step(self, index: int) -> None:
        self.stepping = self.threads.busy[index % len(self.threads.busy)]
        self.stepping.step()
        self.settle()

    @precondition(lambda self: self.threads.busy)
    @rule(index=INDEX)
    def crash(self, index: int) -> None:
        self.crashes_next = True
        self.step(index)
        self.crashes_next = False

    @precondition(lambda self: self.live)
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        self.let_leave(self.live[index % len(self.live)])
        self.settle()

    @precondition(lambda self: self.live and self.threads.busy)
    @rule(index=INDEX, leaving=INDEX)
    def leave_meanwhile(self, index: int, leaving: int) -> None:
        self.leaving = self.live[leaving % len(self.live)]
        self.step(index)
        self.leaving = None

    def let_leave(self, asked: Asked) -> None:
        asked.has_left = True
        asked.task.cancel()
        self.loop.settle()

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.settle()

    @precondition(lambda self: self.closing is None)
    @rule(luck=st.integers(0, 4))
    def stop(self, luck: int) -> None:
        if luck == 0:  # a machine that stops early tries nothing else
            self.closing = self.loop.create_task(self.engine.aclose())
            self.settle()

    @precondition(lambda self: self.closing is not None and not self.closing.done())
    @rule()
    def cut_off(self) -> None:
        assert self.closing is not None
        self.is_cut_off = True
        self.closing.cancel()
        self.settle()

    @invariant()
    def whoever_waits_waits_for_a_thread(self) -> None:
        assert not self.live or self.threads.busy

    @invariant()
    def no_more_are_inside_than_may(self) -> None:
        assert sum(len(asked.texts) for asked in self.live) <= MAX_QUEUED

    def on_run(self, texts: list[Text]) -> None:
        """Check what is about to be computed. What is raised here would count as a fault of the runtime."""
        assert self.stepping is not None
        work = self.stepping.queue[0]
        for text in texts:
            if text.job.has_left:
                self.violations.append(f"{text.words!r} was computed after its caller had left")
            if text.runs:
                continue  # its batch failed, and it runs again without the others
            if text.job.deadline <= work.given_at:
                self.violations.append(f"{text.words!r} was computed after its deadline")

    def settle(self) -> None:
        self.loop.settle()
        done = [asked for asked in self.live if asked.task.done()]
        self.live = [asked for asked in self.live if not asked.task.done()]
        assert self.violations == []
        assert self.loop.mistakes == []
        for asked in done:
            self.check(asked)

    def check(self, asked: Asked) -> None:
        if asked.task.cancelled():
            assert asked.has_left
            return
        match asked.task.exception():
            case None:
                items = asked.task.result().items
                assert len(items) == len(asked.texts)
                for text, item in zip(asked.texts, items, strict=True):
                    self.check_item(text, item)
            case QueueFull():
                assert self.closing is None
            case RequestTooLarge():
                assert len(asked.texts) > MAX_QUEUED
            case ServiceStopping():
                assert self.closing is not None
            case error:
                raise error

    def check_item(self, text: Text, item: Output | HeadraceError) -> None:
        match item:
            case Output():
                assert text.is_healthy
                assert text.runs[-1][0]
                np.testing.assert_array_equal(vector(item), expected(text.words))
            case EngineFailed():
                assert (False, True) in text.runs
            case OutputInvalid():
                assert "nan" in text.words
                assert text.runs[-1][0]
            case InputTooLong():
                assert len(text.words.split()) > WINDOW - 2
                assert text.runs == []
            case DeadlineExceeded():
                assert text.runs == []
                assert self.clock.now >= text.job.deadline
            case ServiceStopping():
                assert self.is_cut_off
            case _:
                raise AssertionError(f"{text.words!r} got {item!r}")

    def finish(self, task: "asyncio.Task[Any]") -> None:
        """Let the threads work until a task is done."""
        self.settle()
        while not task.done():
            assert self.threads.busy
            self.step(0)
        task.result()

    def teardown(self) -> None:
        try:
            while self.threads.busy:
                self.step(0)
            assert self.live == []
            if self.closing is None:
                self.ask_for_all_room()
                self.closing = self.loop.create_task(self.engine.aclose())
            with contextlib.suppress(asyncio.CancelledError):  # it was cut off
                self.finish(self.closing)
            assert self.is_cut_off or all(backend.is_closed for backend in self.backends)
        finally:
            self.abandon()

    def ask_for_all_room(self) -> None:
        """Submit as many texts as may wait: whoever left must have given their places back."""
        asked = self.ask(["w"] * MAX_QUEUED, FOREVER_S)
        while self.threads.busy:
            self.step(0)
        assert asked.task.exception() is None

    def abandon(self) -> None:
        """Leave nothing behind in this process, also after a failure."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self.loop.close()
        self.patch.undo()


def expected(words: str) -> NDArray[np.float32]:
    """Return what the fake answers to a text that is alone."""
    ids = np.array([[101, *map(token_id, words.split()), 102]])
    embedding = FakeBackend().run(TokenBatch(input_ids=ids, attention_mask=np.ones_like(ids)))["embedding"]
    return np.asarray(embedding[0], dtype=np.float32)
