from pathlib import Path

import pytest
from tests.contracts.engine import MAX_QUEUED, EngineContract
from tests.support.facts import Recorder
from tests.support.models import add_model

from headrace.engine.base import Engine
from headrace.engine.loaded import load_engine
from headrace.models.store import LocalStore
from headrace.settings import EngineSettings


class TestOnnxEngine(EngineContract):
    @pytest.fixture(autouse=True)
    def _add_model(self, tmp_path: Path) -> None:
        self.stored = add_model(LocalStore(tmp_path))

    def make_engine(self) -> Engine:
        settings = EngineSettings(max_queued_texts=MAX_QUEUED, threads=1, sessions=self.sessions)
        return load_engine(self.stored.path, self.stored.manifest, settings, Recorder())

    sessions = 1


class TestOnnxEngineWithTwoSessions(TestOnnxEngine):
    sessions = 2
