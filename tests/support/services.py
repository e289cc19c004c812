"""A service on the fake engine."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from tests.support.facts import Recorder
from tests.support.manifests import describe_model
from tests.support.records import MemoryRecords
from tests.support.shelf import Shelf

from headrace.api.context import Context
from headrace.auth.keys import KeyGuard, digest_of
from headrace.auth.loopback import LoopbackGuard
from headrace.auth.standing import Standing
from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.plan import Plan
from headrace.engine.registry import LoadedModel, Registry
from headrace.events.memory import MemoryEvents
from headrace.idempotency import Idempotency
from headrace.keyring import Keyring
from headrace.limits.memory import MemoryLimiter
from headrace.observe.base import Observers
from headrace.observe.counts import OfVersion, VersionCounts
from headrace.observe.metrics import Metrics
from headrace.options import Options
from headrace.readers import Readers
from headrace.records.journal import Journal
from headrace.rollout import Rollout
from headrace.service import Service
from headrace.settings import EngineSettings, LimitSettings, Settings
from headrace.settings.rules import read_rules
from headrace.tokens import Tokens
from headrace.types import Answer, Caller, Embedding, FloatArray, Request, Result, Scope, TaskName
from headrace.users import Users, UsersOff

PLAN = Plan(runtime="onnxruntime", precision="fp32", threads=1, sessions=1, token_budget=1024)
CALLER = Caller("tester", frozenset(Scope))
KEPT_EVENTS = 100
MOST_READERS = 16


@dataclass
class ServiceUnderTest:
    """A service, and what a test wants to look at."""

    service: Service
    backend: FakeBackend
    recorder: Recorder
    cache: MemoryCache
    registry: Registry = field(repr=False)
    records: MemoryRecords = field(default_factory=MemoryRecords)
    counts: VersionCounts = field(default_factory=VersionCounts)
    events: MemoryEvents = field(default_factory=lambda: MemoryEvents(KEPT_EVENTS))

    @property
    def computed(self) -> int:
        """How many texts the engine has computed."""
        return sum(texts for texts, _ in self.backend.batches)

    async def begin(self, request: Request) -> "asyncio.Task[Answer]":
        """Send a request, and let it come as far as it can."""
        task = asyncio.create_task(self.service.run(request))
        await asyncio.sleep(0.02)
        return task

    def remember(self, results: Results) -> None:
        """Let other results be remembered than those of its cache alone."""
        self.service._answering._results = results

    def context(self, keys: Sequence[str] = (), settings: Settings | None = None) -> Context:
        """Return what the routes share; without keys only this machine may call."""
        guard, standing = KeyGuard(keys, LoopbackGuard()), Standing()
        keyring = Keyring(self.records, guard, lambda: keys, digest_of, standing)
        return Context(
            service=self.service,
            keyring=keyring,
            idempotency=Idempotency(self.records),
            users=Users(self.records, UsersOff(), keyring.settle_soon),
            tokens=Tokens(None, standing, self.records, keyring.settle_soon, 600),
            readers=Readers(self.events, self.recorder, MOST_READERS),
            guard=guard,
            settings=settings or Settings(),
            observer=self.recorder,
            metrics=Metrics(),
            counts=self.counts,
        )


@contextlib.asynccontextmanager
async def service_under_test(
    *, rules: str = "", normalize: bool = True, engine: EngineSettings | None = None
) -> AsyncIterator[ServiceUnderTest]:
    """Give a running service."""
    backend, recorder, cache, records = FakeBackend(), Recorder(), MemoryCache(1 << 20), MemoryRecords()
    counts = VersionCounts()
    observer = Observers([recorder, counts])
    manifest = describe_model(name="fake", dimensions=8, normalize=normalize)
    told = OfVersion(manifest.revision, observer)
    loaded = LoadedEngine("fake", lambda: FakeTokenizer(16), lambda: backend, engine or EngineSettings(), told)
    registry = Registry([LoadedModel(manifest, loaded, PLAN)])
    await registry.start(recorder)
    backend.batches.clear()
    service = Service(
        models=registry,
        rollout=Rollout(Shelf(registry), registry, lambda *_, **__: [], observer, Journal(records)),
        limiter=MemoryLimiter(read_rules(rules), 100),
        results=Results(cache),
        observer=observer,
        bounds=LimitSettings(max_inputs=8, max_text_chars=100),
    )
    try:
        yield ServiceUnderTest(service, backend, recorder, cache, registry, records, counts)
    finally:
        backend.gate.set()
        await registry.aclose()


def values(result: Result) -> FloatArray:
    """Return the vector of an embedding."""
    assert isinstance(result, Embedding)
    return result.values


def ask(
    *inputs: str,
    task: TaskName = "embed",
    model: str | None = None,
    query: str | None = None,
    caller: Caller = CALLER,
    seconds: float = 30,
    options: Options | None = None,
) -> Request:
    """Return a request."""
    return Request(
        task=task,
        query=query,
        inputs=inputs,
        model=model,
        caller=caller,
        request_id="test",
        deadline=time.monotonic() + seconds,
        options=options or Options(),
    )
