import time
from collections.abc import Iterator

import pytest
from tests.support.facts import Recorder
from tests.support.services import ask

from headrace.errors import QueueFull
from headrace.observe.base import RequestFinished
from headrace.observe.traces import TRACE, Step, Trace
from headrace.observe.watched import Watched
from headrace.types import Timings

SAMPLED = Trace(trace_id="a" * 32, span_id="b" * 16, is_sampled=True)
REQUEST = ask("a")


class Clock:
    """Goes on by a second each time somebody looks."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    before = TRACE.set(SAMPLED)
    yield
    TRACE.reset(before)


def finish(*steps: str | Timings, error: Exception | None = None) -> RequestFinished:
    recorder = Recorder()
    try:
        with Watched(recorder, REQUEST, 100.0) as seen:
            for step in steps:
                if isinstance(step, Timings):
                    seen.ran(step)
                else:
                    seen.enter(step)
            if error is not None:
                raise error
    except QueueFull:
        pass
    return recorder.of(RequestFinished)[0]


def test_each_step_ends_where_the_next_begins() -> None:
    fact = finish("lookup", "finish")
    assert fact.trace is SAMPLED
    assert fact.steps == (Step("authorise", 0, 1), Step("lookup", 1, 1), Step("finish", 2, 1))


def test_the_times_of_the_engine_are_laid_out_before_its_answer() -> None:
    fact = finish("wait", Timings(tokenize_s=0.125, queue_s=0.25, run_s=0.5), "finish")
    assert fact.steps == (
        Step("authorise", 0, 1),
        Step("tokenize", 1.125, 0.125),
        Step("queue", 1.25, 0.25),
        Step("run", 1.5, 0.5),
        Step("finish", 2, 1),
    )


def test_no_time_of_the_engine_is_before_it_was_asked() -> None:
    fact = finish("wait", Timings(tokenize_s=5, queue_s=0.75, run_s=0.75))
    laid = [(step.start_s, step.duration_s) for step in fact.steps[1:4]]
    assert laid == [(1, 0), (1, 0.25), (1.25, 0.75)]


def test_the_last_step_is_the_one_that_failed() -> None:
    fact = finish("lookup", "wait", error=QueueFull("full", retry_after_s=1))
    assert (fact.outcome, [step.name for step in fact.steps]) == ("queue.full", ["authorise", "lookup", "wait"])


@pytest.mark.parametrize("trace", [None, Trace(trace_id="a" * 32, span_id="b" * 16, is_sampled=False)])
def test_without_spans_nothing_is_noted_and_no_clock_is_looked_at(trace: Trace | None, clock: Clock) -> None:
    TRACE.set(trace)
    fact = finish("lookup", "wait", Timings(run_s=0.5), "finish")
    assert (fact.steps, fact.trace) == ((), trace)
    assert clock.now == 101  # for its time in all
