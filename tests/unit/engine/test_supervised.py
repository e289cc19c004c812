import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.engine_program import make_backend
from tests.support.facts import Recorder
from tests.support.supervised import PATIENCE, UNHURRIED, is_up, job, kinds, pid_of, running, supervise_fake, until

from headrace.engine.base import JobResult, Output
from headrace.engine.fake import FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    HeadraceError,
    InputQuarantined,
    QueueFull,
    RequestTooLarge,
)
from headrace.observe.base import BatchFinished, EngineRestarted, TextQuarantined
from headrace.settings import EngineSettings


async def expected(texts: list[str]) -> list[np.ndarray]:
    """Return what an engine that never crashes answers."""
    engine = LoadedEngine("fake", lambda: FakeTokenizer(16), make_backend, EngineSettings(), Recorder())
    await engine.start()
    result = await engine.run(job(*texts))
    await engine.aclose()
    return [vector(item) for item in result.items]


def vector(item: Output | HeadraceError) -> np.ndarray:
    assert isinstance(item, Output), item
    return np.asarray(item.arrays["embedding"])


async def test_a_text_that_kills_the_engine_twice_is_quarantined_and_its_neighbours_are_answered():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        result = await engine.run(job("w1", "a segv", "w2", "w3"))
        assert kinds(result) == [Output, InputQuarantined, Output, Output]
        np.testing.assert_array_equal([vector(result.items[i]) for i in (0, 2, 3)], await expected(["w1", "w2", "w3"]))
        await is_up(engine)
        assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["SIGSEGV", "SIGSEGV"]
        assert recorder.of(EngineRestarted)[0].suspects >= 1
        (fact,) = recorder.of(TextQuarantined)
        assert len(fact.digest) == 12
        pid = engine.pid
        assert kinds(await engine.run(job("a segv", "w4"))) == [InputQuarantined, Output]
        assert kinds(await engine.run(job("a segv"))) == [InputQuarantined]
        assert engine.pid == pid


async def test_other_requests_are_answered_while_a_text_kills_the_engine():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        jobs = [*(job(f"w{n}", f"v{n}") for n in range(8)), job("a segv"), job("a segv"), job("b segv")]
        results = await asyncio.gather(*map(engine.run, jobs))
        assert [kinds(result) for result in results[:8]] == [[Output, Output]] * 8
        assert [kinds(result) for result in results[8:]] == [[InputQuarantined]] * 3
        await is_up(engine)
        assert len(recorder.of(TextQuarantined)) == 2
        assert len(recorder.of(EngineRestarted)) <= 4


async def test_a_text_that_hangs_the_loop_of_the_engine_is_quarantined():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        results = await asyncio.gather(engine.run(job("w1")), engine.run(job("stall")), engine.run(job("w2")))
        assert [kinds(result) for result in results] == [[Output], [InputQuarantined], [Output]]
        await is_up(engine)
        assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["hang", "hang"]


async def test_a_text_that_hangs_is_quarantined():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        results = await asyncio.gather(engine.run(job("w1")), engine.run(job("a hang")), engine.run(job("w2")))
        assert [kinds(result) for result in results] == [[Output], [InputQuarantined], [Output]]
        await is_up(engine)
        assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["hang", "hang"]


async def test_a_process_that_just_exits_is_replaced_too():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        assert kinds(await engine.run(job("exit", "w1"))) == [InputQuarantined, Output]
        await is_up(engine)
        assert {fact.reason for fact in recorder.of(EngineRestarted)} == {"exit"}


async def test_a_stopped_process_is_noticed_though_nothing_seems_to_run():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        os.kill(pid_of(engine), signal.SIGSTOP)
        assert kinds(await engine.run(job("w1"))) == [Output]
        assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["hang"]


async def test_twenty_kills_under_load_fail_no_request_and_change_no_answer():
    texts = [f"w{number}" for number in range(40)]
    vectors = await expected(texts)
    recorder, answered, is_over = Recorder(), 0, False
    async with running(supervise_fake(recorder=recorder)) as engine:

        async def client(seed: int) -> None:
            nonlocal answered
            choose = random.Random(seed)
            while not is_over:
                chosen = choose.sample(range(len(texts)), 3)
                result = await engine.run(job(*(texts[index] for index in chosen)))
                for index, item in zip(chosen, result.items, strict=True):
                    np.testing.assert_array_equal(vector(item), vectors[index])
                answered += 1
                await asyncio.sleep(0.001)

        clients = [asyncio.create_task(client(seed)) for seed in range(8)]
        for kill in range(20):
            before = answered
            await until(lambda before=before: answered > before + 8)  # type: ignore[misc]
            os.kill(pid_of(engine), signal.SIGKILL)
            await until(lambda kill=kill: len(recorder.of(EngineRestarted)) > kill)  # type: ignore[misc]
        is_over = True
        await asyncio.gather(*clients)
    assert [fact.reason for fact in recorder.of(EngineRestarted)] == ["SIGKILL"] * 20
    assert recorder.of(TextQuarantined) == []


async def test_a_text_during_which_the_engine_is_killed_from_outside_is_not_accused():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder, patience=UNHURRIED)) as engine:
        task = asyncio.create_task(engine.run(job("slow")))
        for kill in range(3):
            await until(lambda kill=kill: len(recorder.of(EngineRestarted)) == kill and engine._activity.read())  # type: ignore[misc]
            os.kill(pid_of(engine), signal.SIGKILL)
        result = await task
        assert kinds(result) == [EngineUnavailable]
        assert recorder.of(TextQuarantined) == []
        assert kinds(await engine.run(job("slow"))) == [Output]


async def test_a_job_waits_for_the_restart_but_not_over_its_deadline():
    async with running(supervise_fake()) as engine:
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: not engine._is_open)
        late, in_time = await asyncio.gather(engine.run(job("w1", seconds=0.01)), engine.run(job("w1")))
        assert kinds(late) == [DeadlineExceeded]
        assert kinds(in_time) == [Output]


async def test_a_short_restart_is_no_reason_to_be_unready():
    async with running(supervise_fake()) as engine:
        assert engine.is_ready
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: engine._down_since is not None)
        assert engine.is_ready
        await is_up(engine)
        assert engine.is_ready


async def test_a_long_restart_is():
    async with running(supervise_fake(patience=replace(PATIENCE, ready_s=0.01))) as engine:
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: not engine.is_ready)
        with pytest.raises(EngineUnavailable):
            await engine.probe()
        await until(lambda: engine.is_ready)
        await engine.probe()


async def test_an_engine_that_cannot_start_again_refuses_and_keeps_trying(tmp_path: Path):
    there = tmp_path / "there"
    there.touch()
    async with running(supervise_fake(f"once:{there}")) as engine:
        there.unlink()
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: engine._down_since is not None)
        assert kinds(await engine.run(job("w1"))) == [EngineUnavailable]
        with pytest.raises(EngineUnavailable) as refused:
            await engine.run(job("w1"))
        assert refused.value.retry_after_s == 1.0
        assert not engine.is_ready
        there.touch()
        await until(lambda: engine.is_ready)
        assert kinds(await engine.run(job("w1"))) == [Output]


async def test_while_the_engine_restarts_no_more_wait_than_may():
    async with running(supervise_fake(settings=EngineSettings(max_queued_texts=4))) as engine:
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: not engine._is_open)
        waiting = asyncio.create_task(engine.run(job("w1", "w2", "w3")))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await engine.run(job("w4", "w5"))
        with pytest.raises(RequestTooLarge):
            await engine.run(job(*"abcde"))
        assert kinds(await waiting) == [Output] * 3


async def test_a_job_is_let_in_once_however_often_it_runs():
    # Four jobs, and 32 texts, wait for each other however long it takes, and nobody else is let in while they do.
    texts = ["slow", *(f"w{number}" for number in range(7))]
    async with running(supervise_fake(patience=UNHURRIED, settings=EngineSettings(max_wait_s=1e-6))) as engine:
        assert engine.retry_after_s(0, 0) is None
        first, *_ = jobs = [asyncio.create_task(engine.run(job(*texts))) for _ in range(4)]
        await until(engine._activity.read)
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: not engine._is_open)
        assert (engine.retry_after_s(0, 0) or 0) > 0
        with pytest.raises(QueueFull):
            await engine.run(job("w9"))
        assert kinds(await first) == [Output] * 8
        await asyncio.gather(*jobs)
        assert engine.retry_after_s(0, 0) is None


async def test_the_child_refuses_nothing_that_was_let_in():
    async with running(supervise_fake(settings=EngineSettings(max_queued_texts=3, max_wait_s=1e-6))) as engine:
        for number in range(100):  # a caller who leaves is gone here at once, and in the child a moment later
            leaving = asyncio.create_task(engine.run(job("w1", "w2", f"w{number}")))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait({leaving})
        assert kinds(await engine.run(job("w3", "w4", "w5"))) == [Output] * 3


async def test_a_thousand_jobs_of_which_half_are_cancelled_leave_nothing_behind():
    choose = random.Random(7)
    async with running(supervise_fake(settings=EngineSettings(max_queued_texts=8192, max_wait_s=60))) as engine:

        async def ask(number: int) -> JobResult:
            await asyncio.sleep(choose.random() * 0.5)
            return await engine.run(job(f"w{number}", f"v{number}"))

        tasks = [asyncio.create_task(ask(number)) for number in range(1000)]
        doomed = choose.sample(tasks, 500)
        for task in doomed:
            asyncio.get_running_loop().call_later(choose.random() * 0.6, task.cancel)
        await until(lambda: sum(task.done() for task in tasks) > 300)
        os.kill(pid_of(engine), signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for task, outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, JobResult):
                assert kinds(outcome) == [Output, Output]
            else:
                assert isinstance(outcome, asyncio.CancelledError)
                assert task in doomed


async def test_a_caller_that_leaves_is_written_down_where_the_engine_looks_last():
    async with running(supervise_fake(patience=UNHURRIED)) as engine:
        task = asyncio.create_task(engine.run(job("slow")))
        await until(engine._activity.read)
        (text,) = engine._activity.read()[0].texts
        assert not engine._activity.has_left(text)
        task.cancel()
        await asyncio.wait({task})
        assert engine._activity.has_left(text)


async def test_a_suspect_nobody_waits_for_is_not_tried():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder, patience=UNHURRIED)) as engine:
        slow = asyncio.create_task(engine.run(job("slow")))
        await until(engine._activity.read)
        os.kill(pid_of(engine), signal.SIGKILL)
        await until(lambda: engine._suspects._suspects)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await is_up(engine)
        assert recorder.of(EngineRestarted)[0].suspects == 1
        assert recorder.of(BatchFinished)[-1].texts == 1


async def test_a_mistake_in_the_supervisor_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch):
    engine = supervise_fake(patience=UNHURRIED)
    await engine.start()
    monkeypatch.setattr(engine._suspects, "judge", lambda *_: 1 / 0)
    task = asyncio.create_task(engine.run(job("slow")))
    await until(engine._activity.read)
    os.kill(pid_of(engine), signal.SIGKILL)
    assert kinds(await task) == [EngineFailed]
    assert not engine.is_ready
    await engine.aclose()


async def test_without_work_nothing_is_looked_at():
    async with running(supervise_fake()) as engine:
        await engine.run(job("w1"))
        await until(lambda: engine._timer is None)
