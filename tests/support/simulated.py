"""An engine and its callers in simulated time: what an admission sees, without a second of waiting."""

import contextlib
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.engine.admission import Admission, Bounds
from headrace.engine.base import Job, JobResult, Output
from headrace.errors import QueueFull
from headrace.observe.base import BatchFinished
from headrace.settings import EngineSettings
from headrace.types import Timings, Window

BATCH_TOKENS = 1024
WINDOW = 256


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def bounds(**settings: Any) -> Bounds:
    return Bounds.of(EngineSettings(**settings))


def batch(tokens: int, run_s: float = 0.01) -> BatchFinished:
    return BatchFinished(model="m", texts=1, tokens=tokens, padded_tokens=tokens, failed=0, run_s=run_s)


def output(tokens: int, *, truncated: bool = False) -> Output:
    windows = (Window(arrays={"norm": np.ones((), np.float32)}, tokens=tokens, weight=1),)
    return Output(windows=windows, truncated=truncated)


def result(*outputs: Output) -> JobResult:
    return JobResult(items=outputs, timings=Timings())


@dataclass(eq=False)
class Caller:
    """A job that was let in: the tokens that are still to be computed of each text."""

    job: Job
    tokens: list[int]
    came_at: float
    entry: contextlib.ExitStack
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = sum(self.tokens)


@dataclass
class Simulation:
    """One session that computes first come, first served, in batches.

    Attributes:
        tokens_per_s: What it can do; a batch has a cost of its own as well.
        waits: For each job that was answered, when it came and how long it took.
    """

    admission: Admission
    clock: Clock
    tokens_per_s: float = 10_000.0
    batch_s: float = 0.002
    inside: deque[Caller] = field(default_factory=deque)
    waits: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    computed: list[tuple[float, int]] = field(default_factory=list)
    _batch: int = 0
    _done_at: float = 0.0

    def ask(self, texts: tuple[str, ...], tokens: list[int], seconds: float = 30) -> bool:
        """Send a job; returns whether it was let in."""
        job = Job(texts=texts, truncate="truncate", deadline=self.clock.now + seconds)
        with contextlib.ExitStack() as entry:
            try:
                entry.enter_context(self.admission.let_in(job))
            except QueueFull:
                self.refused += 1
                return False
            self.inside.append(Caller(job, tokens, self.clock.now, entry.pop_all()))
        if not self._batch:
            self._start()
        return True

    def advance(self, until: float) -> None:
        """Let time pass."""
        while self._batch and self._done_at <= until:
            self.clock.now = self._done_at
            self._finish()
        self.clock.now = until

    def offer(
        self, jobs_per_s: float, seconds: float, texts: int, choose: random.Random, *, wanted_s: float = 30
    ) -> None:
        """Send jobs at random times, of texts of 4 to 1,200 bytes with about 4 bytes a token."""
        end = self.clock.now + seconds
        at = self.clock.now
        while (at := at + choose.expovariate(jobs_per_s)) < end:
            self.advance(at)
            sizes = [round(choose.lognormvariate(5, 1)) + 4 for _ in range(texts)]
            tokens = [min(WINDOW, 2 + round(size / choose.uniform(3, 5))) for size in sizes]
            self.ask(tuple("x" * size for size in sizes), tokens, wanted_s)
        self.advance(end)

    def rate(self, since: float) -> float:
        """Return tokens per second computed since a time."""
        return sum(tokens for at, tokens in self.computed if at >= since) / (self.clock.now - since)

    def longest(self, since: float) -> float:
        """Return the longest time a job took that came after a time."""
        return max(wait for came, wait in self.waits if came >= since)

    def _start(self) -> None:
        self._batch = min(BATCH_TOKENS, sum(caller.left for caller in self.inside))
        self._done_at = self.clock.now + self.batch_s + self._batch / self.tokens_per_s

    def _finish(self) -> None:
        done = self._batch
        self.computed.append((self.clock.now, done))
        self.admission.count(batch(done))
        while done:
            caller = self.inside[0]
            part = min(done, caller.left)
            caller.left -= part
            done -= part
            if not caller.left:
                self._answer(self.inside.popleft())
        self._batch = 0
        if self.inside:
            self._start()

    def _answer(self, caller: Caller) -> None:
        caller.entry.close()
        outputs = [output(tokens, truncated=tokens == WINDOW) for tokens in caller.tokens]
        self.admission.learn(caller.job, result(*outputs))
        self.waits.append((caller.came_at, self.clock.now - caller.came_at))
