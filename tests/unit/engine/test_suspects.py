import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from tests.support.facts import Recorder
from tests.support.supervised import job

from headrace.engine.accepted import Accepted
from headrace.engine.activity import Running
from headrace.engine.base import Job, JobResult, Output, text_number
from headrace.engine.remote import RemoteEngine
from headrace.engine.suspects import Suspects
from headrace.errors import EngineFailed, EngineUnavailable, HeadraceError, InputQuarantined, QueueFull
from headrace.types import Timings, Window


class Stub:
    """An engine that does what a test says."""

    def __init__(self, answer: Callable[[Job], JobResult]) -> None:
        self.answer = answer
        self.lost = asyncio.Event()
        self.jobs: list[Job] = []

    async def run(self, job: Job) -> JobResult:
        self.jobs.append(job)
        return self.answer(job)


def answer(job: Job) -> JobResult:
    output = Output(windows=(Window(arrays={}, tokens=1, weight=1),), truncated=False)
    return JobResult(items=(output,) * len(job.texts), timings=Timings())


def fail_with(error: HeadraceError) -> Callable[[Job], JobResult]:
    def fail(_job: Job) -> JobResult:
        raise error

    return fail


def engine(stub: Stub) -> RemoteEngine:
    return cast("RemoteEngine", stub)


async def die_on(suspects: Suspects, accepted: Accepted, *indexes: int, reason: str = "SIGSEGV") -> int:
    """Run a job on an engine that dies while some of its texts run."""
    stub = Stub(fail_with(EngineUnavailable("gone")))
    stub.lost.set()
    await suspects.run(engine(stub), accepted)
    numbers = tuple(text_number(stub.jobs[0].number, index) for index in indexes)
    return suspects.judge([Running(0.0, 1, numbers)], reason)


async def die_alone(suspects: Suspects, reason: str) -> int:
    """Let the engine die while the first suspect runs alone."""
    stub = Stub(fail_with(EngineUnavailable("gone")))
    stub.lost.set()
    await suspects.try_alone(engine(stub))
    return suspects.judge([Running(0.0, 1, (text_number(stub.jobs[0].number, 0),))], reason)


async def test_only_texts_that_ran_are_suspects():
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a", "b", "c"))
    assert await die_on(suspects, accepted, 1) == 1
    stub = Stub(answer)
    await suspects.try_alone(engine(stub))
    assert [one.texts for one in stub.jobs] == [("b",)]
    assert accepted.missing == [0, 2]
    await suspects.run(engine(stub), accepted)
    assert stub.jobs[1].texts == ("a", "c")
    assert accepted.missing == []
    assert suspects.is_clear


async def test_a_text_whose_windows_ran_in_two_sessions_is_one_suspect():
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a", "b"))
    assert await die_on(suspects, accepted, 1, 1) == 1
    stub = Stub(answer)
    await suspects.try_alone(engine(stub))
    assert [one.texts for one in stub.jobs] == [("b",)]


async def test_garbage_in_the_memory_of_a_dead_engine_accuses_nobody():
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    assert await die_on(suspects, accepted, 5) == 0
    assert suspects.judge([Running(0.0, 1, (0, -1, 1 << 62))], "SIGSEGV") == 0


@pytest.mark.parametrize("reason", ["SIGSEGV", "SIGABRT", "hang", "exit"])
async def test_a_text_that_kills_alone_is_guilty(reason: str):
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    await die_on(suspects, accepted, 0)
    await die_alone(suspects, reason)
    assert isinstance(accepted.items[0], InputQuarantined)
    again, stub = Accepted(job("a", "b")), Stub(answer)
    await suspects.run(engine(stub), again)
    assert isinstance(again.items[0], InputQuarantined)
    assert [one.texts for one in stub.jobs] == [("b",)]


async def test_a_kill_from_outside_accuses_nobody_and_is_borne_three_times():
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    await die_on(suspects, accepted, 0, reason="SIGKILL")
    await die_alone(suspects, "SIGKILL")
    assert accepted.missing == [0]
    await die_alone(suspects, "SIGKILL")
    assert isinstance(accepted.items[0], EngineUnavailable)
    stub = Stub(answer)
    await suspects.try_alone(engine(stub))
    assert stub.jobs == []
    assert suspects.is_clear


async def test_a_death_while_a_suspect_did_not_run_yet_is_no_proof():
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    await die_on(suspects, accepted, 0)
    stub = Stub(fail_with(EngineUnavailable("gone")))
    stub.lost.set()
    await suspects.try_alone(engine(stub))
    assert suspects.judge([], "SIGSEGV") == 1
    assert accepted.missing == [0]


async def test_the_same_text_in_two_requests_is_tried_once():
    suspects, first, second = Suspects("m", Recorder(), lambda _: None), Accepted(job("a")), Accepted(job("a"))
    await die_on(suspects, first, 0)
    await die_on(suspects, second, 0)
    await die_alone(suspects, "SIGSEGV")
    stub = Stub(answer)
    await suspects.try_alone(engine(stub))
    assert stub.jobs == []
    assert isinstance(second.items[0], InputQuarantined)


@pytest.mark.parametrize("error", [EngineFailed("poison"), EngineUnavailable("confused")])
async def test_an_error_of_a_text_that_runs_alone_is_its_answer(error: HeadraceError):
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    await die_on(suspects, accepted, 0)
    await suspects.try_alone(engine(Stub(fail_with(error))))
    assert accepted.items[0] is error
    assert suspects.is_clear


@pytest.mark.parametrize("error", [QueueFull("full"), EngineUnavailable("confused")])
async def test_a_refusal_of_a_living_engine_is_the_caller_s(error: HeadraceError):
    suspects, accepted = Suspects("m", Recorder(), lambda _: None), Accepted(job("a"))
    with pytest.raises(type(error)):
        await suspects.run(engine(Stub(fail_with(error))), accepted)


async def test_a_refused_job_is_not_remembered():
    suspects = Suspects("m", Recorder(), lambda _: None)
    with pytest.raises(QueueFull):
        await suspects.run(engine(Stub(fail_with(QueueFull("full")))), Accepted(job("a")))
    assert suspects.is_clear
