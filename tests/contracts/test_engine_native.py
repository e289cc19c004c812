from pathlib import Path

import numpy as np
import pytest
from tests.contracts.engine import MAX_QUEUED, EngineContract
from tests.support import needs
from tests.support.encoders import random_encoder, write_encoder
from tests.support.facts import Recorder
from tests.support.models import MAX_TOKENS, WORDS, build_tokenizer

from headrace.engine.base import Engine
from headrace.engine.loaded import LoadedEngine, backend_loader
from headrace.engine.plan import Plan, Precision
from headrace.engine.tokenizer import FastTokenizer
from headrace.settings import EngineSettings

pytestmark = needs.native


class TestNativeEngine(EngineContract):
    sessions = 1
    precision: Precision = "int16"

    @pytest.fixture(autouse=True)
    def _write_model(self, tmp_path: Path) -> None:
        encoder = random_encoder(vocabulary=WORDS.index("poison"), window=MAX_TOKENS)
        encoder.words[WORDS.index("nan")] = np.nan
        self.graph = write_encoder(tmp_path / "model.onnx", encoder)
        self.tokenizer = tmp_path / "tokenizer.json"
        build_tokenizer().save(str(self.tokenizer))

    def make_engine(self) -> Engine:
        settings = EngineSettings(max_queued_texts=MAX_QUEUED, sessions=self.sessions)
        plan = Plan(runtime="native", precision=self.precision, threads=2, sessions=self.sessions, token_budget=1024)
        load = backend_loader(self.graph, plan)
        return LoadedEngine("tiny", lambda: FastTokenizer(self.tokenizer, MAX_TOKENS), load, settings, Recorder())


class TestNativeEngineWithTwoSessions(TestNativeEngine):
    sessions = 2


@needs.kernel("bf16")
class TestNativeEngineWithAvx512(TestNativeEngine):
    precision = "bf16"
