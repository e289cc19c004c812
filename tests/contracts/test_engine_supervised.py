import sys
from pathlib import Path

import pytest
from tests.contracts.engine import MAX_QUEUED, EngineContract
from tests.support.facts import Recorder
from tests.support.models import add_model
from tests.support.supervised import UNHURRIED, supervise_fake

from headrace.engine.base import Engine
from headrace.engine.supervised import SupervisedEngine
from headrace.models.store import LocalStore
from headrace.settings import EngineSettings, LogSettings


class TestSupervisedFakeEngine(EngineContract):
    def make_engine(self) -> Engine:
        return supervise_fake(patience=UNHURRIED, settings=EngineSettings(max_queued_texts=MAX_QUEUED))


class TestSupervisedOnnxEngine(EngineContract):
    @pytest.fixture(autouse=True)
    def _add_model(self, tmp_path: Path) -> None:
        self.stored = add_model(LocalStore(tmp_path))

    def make_engine(self) -> Engine:
        settings = EngineSettings(max_queued_texts=MAX_QUEUED, threads=1)
        options = [settings.model_dump_json(), LogSettings().model_dump_json()]
        command = [sys.executable, "-P", "-m", "headrace.engine_process", str(self.stored.path), *options]
        return SupervisedEngine("tiny", command, settings, Recorder())
