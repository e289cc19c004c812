"""A supervisor over the fake engine."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from tests.support.facts import Recorder

from headrace.engine.base import Job, JobResult
from headrace.engine.supervised import Patience, SupervisedEngine
from headrace.settings import EngineSettings

PROGRAM = Path(__file__).with_name("engine_program.py")
# Short enough for a test; a batch of the fake takes a millisecond.
PATIENCE = Patience(batch_s=0.6, pause_s=0.05, max_pause_s=0.1, start_s=30, stop_s=5)
UNHURRIED = replace(PATIENCE, batch_s=20)  # for texts that are slow on purpose, on a machine that may be slow too


def supervise_fake(
    how: str = "well",
    *,
    recorder: Recorder | None = None,
    patience: Patience = PATIENCE,
    settings: EngineSettings | None = None,
) -> SupervisedEngine:
    """Return a supervisor whose child runs the fake engine."""
    settings = settings or EngineSettings()
    command = [sys.executable, str(PROGRAM), how, settings.model_dump_json()]
    return SupervisedEngine("fake", command, settings, recorder or Recorder(), patience)


def job(*texts: str, seconds: float = 60) -> Job:
    return Job(texts=texts, truncate="truncate", deadline=time.monotonic() + seconds)


def kinds(result: JobResult) -> list[type]:
    return [type(item) for item in result.items]


async def until(condition: Callable[[], object], limit_s: float = 30) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(engine: SupervisedEngine) -> AsyncIterator[SupervisedEngine]:
    await engine.start()
    try:
        yield engine
        await is_up(engine)
        assert_nothing_left(engine)
    finally:
        await engine.aclose()


async def is_up(engine: SupervisedEngine) -> None:
    """Wait for the end of a restart: who was killed for is answered before."""
    await until(lambda: engine._is_open)


def assert_nothing_left(engine: SupervisedEngine) -> None:
    assert engine._admission.texts == 0
    assert engine._accepted == set()
    assert engine._suspects.is_clear
    assert engine._child is not None
    assert engine._child.engine._waiting == {}


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_of(engine: SupervisedEngine) -> int:
    assert engine.pid is not None
    return engine.pid
