"""How a supervised engine starts and ends: no process, no file and no caller is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.facts import Recorder
from tests.support.supervised import (
    PATIENCE,
    PROGRAM,
    is_there,
    job,
    kinds,
    pid_of,
    running,
    supervise_fake,
    until,
)

from headrace.engine.base import Output
from headrace.engine.supervised import SupervisedEngine
from headrace.errors import EngineUnavailable, ModelCorrupt, ServiceStopping
from headrace.observe.base import EngineRestarted
from headrace.settings import EngineSettings


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_first_start_that_crashes_each_time_is_given_up():
    engine = supervise_fake("crash")
    with pytest.raises(EngineUnavailable, match=r"died while it started \(SIGSEGV\)"):
        await engine.start()
    assert not engine.is_ready
    with pytest.raises(ServiceStopping):
        await engine.run(job("w1"))
    await engine.aclose()


async def test_a_first_start_may_fail_now_and_then(tmp_path: Path):
    there = tmp_path / "there"
    engine = supervise_fake(f"once:{there}", patience=replace(PATIENCE, pause_s=0.5))
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0.05)
    there.touch()
    await starting
    await engine.aclose()


async def test_a_corrupt_model_is_its_own_error_and_not_tried_again():
    engine = supervise_fake("corrupt")
    with pytest.raises(ModelCorrupt, match=r"model\.onnx is not as it was written"):
        await engine.start()
    await engine.aclose()


async def test_a_start_has_a_limit():
    engine = supervise_fake("mute", patience=replace(PATIENCE, start_s=0.3, max_starts=1))
    with pytest.raises(EngineUnavailable, match=r"did not start in 0\.3 s"):
        await engine.start()
    await engine.aclose()


async def test_a_program_that_does_not_exist_is_an_error():
    engine = SupervisedEngine("m", ["/nonexistent"], EngineSettings(), Recorder(), replace(PATIENCE, max_starts=1))
    with pytest.raises(EngineUnavailable, match="No such file"):
        await engine.start()
    await engine.aclose()


async def test_a_start_that_is_cancelled_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch):
    pids: list[int] = []
    popen = subprocess.Popen

    def remember(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        process = popen(*arguments, **options)  # type: ignore[call-overload]
        pids.append(process.pid)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr(subprocess, "Popen", remember)
    engine = supervise_fake("mute")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await engine.start()
    await engine.aclose()
    assert len(pids) == 1
    assert not is_there(pids[0])


async def test_a_stop_that_is_cut_off_kills_the_child_and_leaves_nobody_waiting():
    engine = supervise_fake(patience=replace(PATIENCE, batch_s=30))
    await engine.start()
    pid = pid_of(engine)
    hanging = asyncio.create_task(engine.run(job("hang")))
    await until(engine._activity.read)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await engine.aclose()
    assert kinds(await hanging) == [ServiceStopping]
    assert not is_there(pid)


async def test_a_child_that_does_not_end_by_itself_is_killed():
    engine = supervise_fake(patience=replace(PATIENCE, batch_s=30, stop_s=0.2))
    await engine.start()
    pid = pid_of(engine)
    hanging = asyncio.create_task(engine.run(job("hang")))
    await until(engine._activity.read)
    hanging.cancel()
    await asyncio.wait([hanging])
    await engine.aclose()
    assert not is_there(pid)


async def test_no_process_and_no_file_is_left_behind():
    before = count_open_files()
    for _ in range(2):
        async with running(supervise_fake()) as engine:
            os.kill(pid_of(engine), signal.SIGKILL)
            await engine.run(job("w1"))
            pid = pid_of(engine)
        assert not is_there(pid)
    await asyncio.sleep(0)  # transports close in the next turn
    assert count_open_files() == before


async def test_ctrl_c_and_sigterm_are_left_to_the_supervisor():
    recorder = Recorder()
    async with running(supervise_fake(recorder=recorder)) as engine:
        os.kill(pid_of(engine), signal.SIGINT)
        os.kill(pid_of(engine), signal.SIGTERM)
        assert kinds(await engine.run(job("w1"))) == [Output]
        assert recorder.of(EngineRestarted) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child that hangs outlives its parent")
def test_a_child_dies_with_its_parent_even_while_it_hangs():
    program = textwrap.dedent(
        f"""
        import asyncio, time
        from headrace.engine.base import Job
        from headrace.engine.supervised import SupervisedEngine
        from headrace.observe.base import Observers
        from headrace.settings import EngineSettings
        import sys

        async def main():
            settings = EngineSettings()
            command = [sys.executable, {str(PROGRAM)!r}, "well", settings.model_dump_json()]
            engine = SupervisedEngine("fake", command, settings, Observers([]))
            await engine.start()
            job = Job(texts=("hang",), truncate="error", deadline=time.monotonic() + 60)
            task = asyncio.create_task(engine.run(job))
            while not engine._activity.read():
                await asyncio.sleep(0.01)
            print(engine.pid, flush=True)
            await task

        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.kill()
        parent.wait()
    end = time.monotonic() + 20
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_there(pid)
