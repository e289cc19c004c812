"""Facts become events, and thousands of them a few."""

from typing import Any

import pytest
from tests.support.facts import Recorder
from tests.support.stepped import Clock, SteppedLoop

from headrace.events.base import Event
from headrace.events.kinds import KINDS, SUBJECTS
from headrace.events.memory import MemoryEvents
from headrace.events.observer import _MOST, EventObserver
from headrace.observe.base import (
    BatchFinished,
    EngineRestarted,
    EventPublished,
    Fact,
    ModelLoaded,
    QueueChanged,
    RequestFinished,
    RequestsShed,
    ResponseSent,
    TextQuarantined,
    VersionRefused,
    VersionSwitched,
)
from headrace.types import Caller, Timings

ADA = Caller("ada", frozenset(), "acme")
SHED = RequestsShed(task="embed", outcome="queue.full", route="/r", method="POST", status=429, count=40)


def finished(outcome: str, caller: Caller = ADA) -> RequestFinished:
    return RequestFinished(
        caller=caller,
        task="embed",
        model="minilm",
        outcome=outcome,
        inputs=1,
        cached=0,
        tokens=0,
        timings=Timings(),
        limit="tokens-day" if outcome == "limit.exceeded" else "",
    )


class Stage:
    """An observer on a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = SteppedLoop(self.clock)
        self.recorder = Recorder()
        self.events = MemoryEvents(100_000)
        self.subscription = self.events.subscribe(None)
        self.observer = EventObserver(self.events, self.recorder)

    def see(self, *facts: Fact, after_s: float = 0.0) -> list[Event]:
        """Return what is told when facts are stated, and a time has passed."""

        async def state() -> None:
            for fact in facts:
                self.observer.observe(fact)

        self.loop.run_until_complete(state())
        self.clock.now += after_s
        self.loop.settle()
        told: list[Event] = []
        while found := self.loop.run_until_complete(self.subscription.read(0)):
            told += found
        return told


@pytest.fixture
def stage() -> Any:
    stage = Stage()
    yield stage
    stage.loop.close()


@pytest.mark.parametrize(
    ("fact", "subject", "tenant", "fields"),
    [
        (
            ModelLoaded(model="minilm", revision="r", took_s=1.25),
            "model.loaded",
            None,
            {"model": "minilm", "revision": "r", "took_ms": 1250},
        ),
        (
            VersionSwitched(model="minilm", revision="r", role="canary"),
            "version.switched",
            None,
            {"model": "minilm", "revision": "r", "role": "canary"},
        ),
        (
            VersionRefused(model="minilm", revision="r", code="model.corrupt", reason="x" * 900),
            "version.refused",
            None,
            {"model": "minilm", "revision": "r", "code": "model.corrupt", "reason": "x" * 500},
        ),
        (
            EngineRestarted(model="minilm", reason="SIGSEGV", suspects=2, down_s=0.5),
            "engine.restarted",
            None,
            {"model": "minilm", "reason": "SIGSEGV", "suspects": 2, "down_ms": 500},
        ),
        (
            TextQuarantined(model="minilm", digest="0123456789ab"),
            "text.quarantined",
            "",
            {"model": "minilm", "sha256": "0123456789ab"},
        ),
        (
            finished("limit.exceeded"),
            "limit.exceeded",
            "acme",
            {"caller": "ada", "task": "embed", "limit": "tokens-day"},
        ),
        (finished("queue.full"), "queue.full", None, {"task": "embed"}),
        *(
            (
                finished(code),
                "request.failed",
                "acme",
                {"caller": "ada", "model": "minilm", "task": "embed", "code": code},
            )
            for code in ("internal.error", "engine.failed", "engine.unavailable", "output.invalid", "deadline.exceeded")
        ),
    ],
)
def test_a_fact_is_told_at_once(stage: Stage, fact: Fact, subject: str, tenant: str | None, fields: Any) -> None:
    (told,) = stage.see(fact)
    assert (told.subject, told.tenant, told.fields, told.count) == (subject, tenant, fields, 1)
    assert stage.recorder.of(EventPublished) == [EventPublished(subject=subject)]


@pytest.mark.parametrize(
    "fact",
    [
        *(finished(code) for code in ("ok", "caller.left", "request.invalid", "model.unknown", "timeout.elapsed")),
        BatchFinished(model="minilm", texts=1, tokens=1, padded_tokens=1, failed=1, run_s=0.1),
        QueueChanged(model="minilm", waiting=1),
        ResponseSent(route="/r", method="GET", path="/r", status=500, request_id="r", caller="ada", duration_s=0.1),
        EventPublished(subject="limit.exceeded"),
    ],
)
def test_what_is_no_event_is_not_told(stage: Stage, fact: Fact) -> None:
    assert stage.see(fact, after_s=2) == []


def test_what_repeats_itself_is_told_once_a_second_with_how_often(stage: Stage) -> None:
    assert [each.count for each in stage.see(*[finished("limit.exceeded")] * 5000)] == [1]
    assert [each.count for each in stage.see(after_s=1.0)] == [4999]
    assert stage.see(*[finished("limit.exceeded")] * 10) == []
    assert [each.count for each in stage.see(after_s=1.0)] == [10]
    assert stage.see(after_s=1.0) == []  # a second without any, and the next one is told at once
    assert [each.count for each in stage.see(finished("limit.exceeded"))] == [1]


def test_what_comes_together_already_is_counted_as_such(stage: Stage) -> None:
    assert [each.count for each in stage.see(SHED, SHED, finished("queue.full"))] == [40]
    assert [each.count for each in stage.see(after_s=1.0)] == [41]


def test_callers_are_told_apart(stage: Stage) -> None:
    bob = Caller("bob", frozenset(), "acme")
    told = stage.see(*[finished("limit.exceeded"), finished("limit.exceeded", bob)] * 9)
    assert [each.fields["caller"] for each in told] == ["ada", "bob"]
    assert {each.fields["caller"]: each.count for each in stage.see(after_s=1.0)} == {"ada": 8, "bob": 8}


def test_a_flood_of_callers_is_a_bounded_number_of_events_and_shows_no_tenant_another(stage: Stage) -> None:
    flood = [finished("limit.exceeded", Caller(f"c{number}", frozenset(), f"t{number}")) for number in range(20_000)]
    told = stage.see(*flood, after_s=1.0)
    assert len(told) == _MOST + 2
    assert sum(each.count for each in told) == 20_000
    *_, more = told
    assert (more.tenant, more.fields, more.count) == ("", {}, 20_000 - _MOST - 1)
    assert stage.see(after_s=1.0) == []
    assert len(stage.observer._held) == 0


def test_a_name_that_a_provider_gave_makes_no_long_event(stage: Stage) -> None:
    (told,) = stage.see(finished("limit.exceeded", Caller("\U0001f600" * 6000, frozenset())))
    assert len(told.spelled) < 8192


def test_no_kind_says_what_every_event_says() -> None:
    reserved = {"time", "subject", "count", "tenant"}
    seen = [finished("limit.exceeded"), SHED]
    for kind in KINDS:
        for fact in seen:
            if isinstance(fact, kind.fact):
                assert not reserved & set(kind.fields(fact))
    assert all(meaning.endswith(".") for meaning in SUBJECTS.values())
