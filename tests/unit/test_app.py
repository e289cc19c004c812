import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.models import add_model

from headrace import app
from headrace.engine.plan import Plan
from headrace.engine.plans import Trial, Tuned
from headrace.engine.tune import Effort
from headrace.models.store import LocalStore
from headrace.service import Service
from headrace.settings import load_settings

BEST = Plan(runtime="openvino", precision="fp32", threads=1, sessions=1, token_budget=512)


async def test_a_stop_while_models_load_does_not_wait_for_them():
    stop, was_cancelled = asyncio.Event(), asyncio.Event()

    async def load() -> Service:
        try:
            await asyncio.sleep(60)
        finally:
            was_cancelled.set()
        raise AssertionError("must have been cancelled")

    loading = asyncio.ensure_future(load())
    asyncio.get_running_loop().call_later(0.01, stop.set)
    async with asyncio.timeout(5):
        assert await app._unless(stop, loading) is None
    assert was_cancelled.is_set()


async def test_what_keeps_models_from_loading_is_told():
    async def load() -> Service:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await app._unless(asyncio.Event(), asyncio.ensure_future(load()))


class FakeTuner:
    def __init__(self) -> None:
        self.efforts: list[Effort] = []

    async def tune(self, *_args: object, effort: Effort, **_more: object) -> Tuned:
        self.efforts.append(effort)
        return Tuned(
            plan=BEST,
            trials=(Trial(plan=BEST, verdict="chosen"),),
            noise=0.03,
            is_whole=True,
            took_s=1.0,
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
        )


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> FakeTuner:
    fake = FakeTuner()
    monkeypatch.setattr(app, "tune", fake.tune)
    return fake


async def find_plan(home: Path, **engine: Any) -> Plan:
    given = {f"engine.{name}": value for name, value in engine.items()}
    settings = load_settings({"store.home": home, **given}).settings
    folder = app.open_store(settings).open("tiny")
    return await app._find_plan(folder, settings, may_tune=True)


async def test_a_model_is_measured_once(tuner: FakeTuner, tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"))
    assert await find_plan(tmp_path) == await find_plan(tmp_path) == BEST
    assert [effort.has_sizes for effort in tuner.efforts] == [False]


async def test_nothing_is_measured_if_it_is_not_wanted_or_nothing_is_open(tuner: FakeTuner, tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"))
    assert (await find_plan(tmp_path, tune=False)).runtime == "onnxruntime"
    assert (await find_plan(tmp_path, runtime="openvino", precision="fp32")).runtime == "openvino"
    assert tuner.efforts == []


async def test_a_result_that_cannot_be_kept_is_used_all_the_same(tuner: FakeTuner, tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"))
    (tmp_path / "plans").write_text("a file where the folder would be")
    with structlog.testing.capture_logs() as lines:
        assert await find_plan(tmp_path) == BEST
    assert [line["event"] for line in lines] == ["engine.tuning", "engine.tuned", "engine.plan_not_kept"]


async def test_tuning_on_purpose_tries_everything_and_keeps_the_result(tuner: FakeTuner, tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"))
    loaded = load_settings({"store.home": tmp_path})
    tuned, path = await app.tune_model(loaded, "tiny", lambda _: contextlib.nullcontext(), rounds=5, limit_s=9)
    assert tuner.efforts == [Effort(rounds=5, limit_s=9, has_sizes=True)]
    assert Tuned.model_validate_json(path.read_text()) == tuned
    assert await find_plan(tmp_path) == BEST


def test_one_caller_alone_shares_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADRACE_REDIS__URL", "redis://127.0.0.1:1")
    assert app.for_one_caller(load_settings()).settings.redis.url is None
