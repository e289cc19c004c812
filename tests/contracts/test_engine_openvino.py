from tests.contracts import test_engine_onnx
from tests.contracts.engine import MAX_QUEUED
from tests.support.facts import Recorder

from headrace.engine.base import Engine
from headrace.engine.loaded import load_engine
from headrace.settings import EngineSettings


class TestOpenvinoEngine(test_engine_onnx.TestOnnxEngine):
    def make_engine(self) -> Engine:
        settings = EngineSettings(runtime="openvino", max_queued_texts=MAX_QUEUED, threads=1, sessions=self.sessions)
        return load_engine(self.stored.path, self.stored.manifest, settings, Recorder())


class TestOpenvinoEngineWithTwoSessions(TestOpenvinoEngine):
    sessions = 2
