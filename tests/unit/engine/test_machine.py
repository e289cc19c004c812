"""Whatever happens to an engine, and in whatever order; and each guard of the queue, removed, is missed."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis.stateful import run_state_machine_as_test
from tests.support.engine_machine import HUNT, STEPS, EngineMachine

from headrace.engine import runner
from headrace.engine.admission import Admission
from headrace.engine.batcher import Batcher
from headrace.engine.runner import Runner, _Computed
from headrace.errors import EngineFailed, ServiceStopping


@pytest.fixture(autouse=True)
def _quiet():
    """A text that fails is logged, and here hundreds do."""
    with structlog.testing.capture_logs():
        yield


def test_whatever_happens_everybody_gets_what_is_theirs():
    run_state_machine_as_test(EngineMachine, settings=STEPS)


def no_expire(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Batcher, "expire", lambda *_: [])


def no_discard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runner, "discard", lambda *_: None)


def no_split(patch: pytest.MonkeyPatch) -> None:
    async def fail_all(self: Runner, _session: Any, batch: Any, _error: Exception) -> None:
        self._finish(_Computed(batch, [EngineFailed("one of them failed")] * len(batch)), 0.0, 0.0)

    patch.setattr(Runner, "_split", fail_all)


def no_fail_on_stop(patch: pytest.MonkeyPatch) -> None:
    fail = runner._fail
    patch.setattr(
        runner, "_fail", lambda batch, error: None if isinstance(error, ServiceStopping) else fail(batch, error)
    )


class Blind:
    """NumPy that takes every number for finite."""

    isfinite = staticmethod(np.ones_like)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def no_nan_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runner, "np", Blind())


def no_order(patch: pytest.MonkeyPatch) -> None:
    compute = Runner._compute

    async def compute_out_of_order(*arguments: Any) -> _Computed:
        computed = await compute(*arguments)
        return _Computed(computed.texts, computed.outputs[::-1])

    patch.setattr(Runner, "_compute", compute_out_of_order)


def no_leave(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Admission, "_leave", lambda *_: None)


def no_single_finish(patch: pytest.MonkeyPatch) -> None:
    finish = Runner._finish

    def finish_all(self: Runner, computed: _Computed, *times: float) -> None:
        for waiting, output in zip(computed.texts, computed.outputs, strict=True):
            if waiting.future.done():
                waiting.future.set_result(output)  # type: ignore[arg-type]
        finish(self, computed, *times)

    patch.setattr(Runner, "_finish", finish_all)


@pytest.mark.parametrize(
    "guard",
    [no_expire, no_discard, no_split, no_fail_on_stop, no_nan_check, no_order, no_leave, no_single_finish],
    ids=["expire", "discard", "split", "fail_on_stop", "nan_check", "order", "admission_leave", "finish_once"],
)
def test_the_machine_notices_when_a_guard_is_removed(guard: Callable[[pytest.MonkeyPatch], None]):
    class Broken(EngineMachine):
        break_it = staticmethod(guard)

    with pytest.raises((AssertionError, asyncio.InvalidStateError)):
        run_state_machine_as_test(Broken, settings=HUNT)
