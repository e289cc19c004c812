from tests.contracts.engine import MAX_QUEUED, EngineContract
from tests.support.facts import Recorder

from headrace.engine.base import Engine
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.settings import EngineSettings


class TestFakeEngine(EngineContract):
    def make_engine(self) -> Engine:
        backend = FakeBackend()
        backend.poison = frozenset({"poison"})
        backend.nan = frozenset({"nan"})
        settings = EngineSettings(max_queued_texts=MAX_QUEUED)
        return LoadedEngine("fake", lambda: FakeTokenizer(16), lambda: backend, settings, Recorder())
