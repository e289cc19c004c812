import socket
from collections.abc import AsyncIterator

import pytest
from tests.contracts.engine import MAX_QUEUED, EngineContract
from tests.support.engine_program import make_backend
from tests.support.facts import Recorder
from tests.support.remote import all_hung_up, connect_to

from headrace.engine.base import Engine
from headrace.engine.fake import FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.remote import RemoteEngine
from headrace.observe.base import Observer
from headrace.settings import EngineSettings


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
class TestRemoteEngine(EngineContract):
    @pytest.fixture(autouse=True)
    def _family(self, family: socket.AddressFamily) -> None:
        self.family = family

    @pytest.fixture(autouse=True)
    async def _hang_up(self) -> AsyncIterator[None]:
        yield
        await all_hung_up()

    def make_engine(self) -> Engine:
        self.backend = make_backend()
        return RemoteEngine("fake", connect_to(self.make_fake, self.family), Recorder())

    def make_fake(self, observer: Observer) -> Engine:
        settings = EngineSettings(max_queued_texts=MAX_QUEUED)
        return LoadedEngine("fake", lambda: FakeTokenizer(16), lambda: self.backend, settings, observer)

    async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(self, engine: Engine):
        self.backend.delay_s = 0.3  # here the jobs come one after the other; none may end before the last is there
        await super().test_a_full_queue_refuses_at_once_and_says_when_to_come_back(engine)
