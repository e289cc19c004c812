"""Versions are switched while requests are answered."""

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.facts import Recorder
from tests.support.manifests import describe_model
from tests.support.records import MemoryRecords
from tests.support.services import CALLER, PLAN, ask, values
from tests.support.shelf import Shelf

from headrace import rollout, shadow
from headrace.cache.memory import MemoryCache
from headrace.cache.results import Results
from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine
from headrace.engine.registry import LoadedModel, Registry
from headrace.errors import (
    AccessDenied,
    EngineFailed,
    ModelUnknown,
    RuntimeUnfit,
    ServiceStopping,
    StoreUnusable,
    VersionUnfit,
)
from headrace.limits.memory import MemoryLimiter
from headrace.models.folder import ModelFolder
from headrace.models.manifest import Manifest
from headrace.models.roles import Candidate, Roles
from headrace.observe.base import ShadowCompared, VersionRefused, VersionSwitched
from headrace.records.journal import Journal
from headrace.rollout import Rollout
from headrace.service import Service
from headrace.settings import EngineSettings, LimitSettings
from headrace.types import Answer, Caller, Scope

VERSIONS: Final = [describe_model(name="fake", dimensions=8, prompts={"version": str(number)}) for number in range(12)]
TEXT: Final = "the water wheel"


class VersionedBackend(FakeBackend):
    """Answers as one version alone does."""

    def __init__(self, world: "World", revision: str) -> None:
        super().__init__()
        if revision in world.failing:
            raise EngineFailed("no such operator")
        world.alive.add(revision)
        world.most_alive = max(world.most_alive, len(world.alive))
        self._world = world
        self._revision = revision
        self.gate = world.gates.get(revision, self.gate)

    def close(self) -> None:
        super().close()
        self._world.alive.discard(self._revision)

    def _vector(self, row: NDArray[np.int64]) -> NDArray[np.float32]:
        return vector(self._revision, super()._vector(row))


def vector(revision: str, plain: NDArray[np.float32]) -> NDArray[np.float32]:
    shift = np.frombuffer(hashlib.sha256(revision.encode()).digest(), np.uint8)[:8]
    return np.asarray(plain + shift.astype(np.float32) / np.float32(64), dtype=np.float32)


class World:
    """A service whose versions are in memory.

    Attributes:
        alive: Revisions that are loaded.
        failing: Those that cannot be loaded.
        stands_back: Whether the last one that was loaded does.
        unfit: Those that do not suit the first way to run them.
        gates: By revision, those whose batches wait while they are cleared.
    """

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.most_alive = 0
        self.loads: list[str] = []
        self.failing: set[str] = set()
        self.unfit: set[str] = set()
        self.stands_back = False
        self.gates: dict[str, threading.Event] = {}
        self.recorder = Recorder()
        self.registry = Registry([self._make(VERSIONS[0])])
        self.shelf = Shelf(self.registry, VERSIONS)
        self.records = MemoryRecords()
        self.rollout = Rollout(self.shelf, self.registry, self._load, self.recorder, Journal(self.records))
        self.service = Service(
            models=self.registry,
            rollout=self.rollout,
            limiter=MemoryLimiter((), 100),
            results=Results(MemoryCache(1 << 20)),
            observer=self.recorder,
            bounds=LimitSettings(max_inputs=8),
        )

    async def ask(self, text: str = TEXT, key: str | None = None, model: str | None = None) -> Answer:
        return await self.service.run(replace(ask(text, model=model), routing_key=key))

    async def revision(self, key: str | None = None) -> str:
        return (await self.ask(key=key)).revision

    def _load(self, folder: ModelFolder, champion: LoadedModel, *, stands_back: bool) -> list[LoadedModel]:
        assert champion.revision in self.alive
        self.stands_back = stands_back
        self.loads.append(folder.manifest.revision)
        unfit = [self._make(folder.manifest, unfit=True)] if folder.manifest.revision in self.unfit else []
        return [*unfit, self._make(folder.manifest)]

    def _make(self, manifest: Manifest, *, unfit: bool = False) -> LoadedModel:
        def backend() -> FakeBackend:
            if unfit:
                raise RuntimeUnfit("another kind of model")
            return VersionedBackend(self, manifest.revision)

        engine = LoadedEngine("fake", lambda: FakeTokenizer(16), backend, EngineSettings(), self.recorder)
        return LoadedModel(manifest, engine, PLAN)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    await world.registry.start(world.recorder)
    try:
        yield world
    finally:
        for gate in world.gates.values():
            gate.set()
        await world.rollout.aclose()
        await world.registry.aclose()
        assert world.alive == set()


def revision(number: int) -> str:
    return VERSIONS[number].revision


def canary(number: int, share: float = 0.1, kind: Any = "canary") -> Candidate:
    return Candidate(revision=revision(number), kind=kind, share=share)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests without a pause."""
    for name in ("_PAUSE_S", "_BUSY_PAUSE_S"):
        monkeypatch.setattr(shadow, name, 0.0)


async def test_a_promoted_version_answers_and_the_one_before_is_stopped():
    async with running() as world:
        assert await world.revision() == revision(0)
        roles = await world.service.promote(CALLER, "fake", revision(1)[:12])
        assert roles == await world.service.roles(CALLER, "fake") == Roles(champion=revision(1), previous=revision(0))
        assert await world.revision() == revision(1)
        assert world.alive == {revision(1)}
        assert world.recorder.of(VersionSwitched) == [
            VersionSwitched(model="fake", revision=revision(1), role="champion")
        ]
        assert (await world.service.roll_back(CALLER, "fake")).champion == revision(0) == await world.revision()
        await world.service.promote(CALLER, "fake", revision(0))  # it is that already
        assert world.loads == [revision(1), revision(0)]


async def test_a_request_ends_on_the_version_on_which_it_began():
    async with running() as world:
        gate = world.gates[revision(1)] = threading.Event()
        gate.set()
        await world.service.promote(CALLER, "fake", revision(1))
        gate.clear()
        asked = asyncio.create_task(world.ask())
        while not world.registry.count_uses(world.registry.deployment("fake").champion):
            await asyncio.sleep(0.001)
        promoting = asyncio.create_task(world.service.promote(CALLER, "fake", revision(2)))
        while world.registry.deployment("fake").champion.revision != revision(2):
            await asyncio.sleep(0.001)
        assert await world.revision() == revision(2)  # while the other one still computes
        assert not promoting.done()
        gate.set()
        assert (await asked).revision == revision(1)
        await promoting
        assert world.alive == {revision(2)}


async def test_a_hundred_switches_under_load_fail_no_request_and_mix_no_versions():
    chooser = random.Random(7)
    plain = FakeBackend()
    async with running() as world:
        answers: list[tuple[str, Answer]] = []
        is_over = asyncio.Event()

        async def load(number: int) -> None:
            turn = 0
            while not is_over.is_set():
                text = f"wheel {number} {turn}"
                answers.append((text, await world.ask(text)))
                turn += 1

        loads = [asyncio.create_task(load(number)) for number in range(4)]
        refused = 0
        for number in range(100):
            target = revision(chooser.randrange(len(VERSIONS)))
            is_bad = number % 5 == 0 and target != world.registry.deployment("fake").champion.revision
            bad = chooser.choice([world.shelf.broken, world.failing])
            if is_bad:
                bad.add(target)
            before = world.registry.deployment("fake").champion.revision
            try:
                await world.service.promote(CALLER, "fake", target)
            except VersionUnfit:
                refused += 1
                assert is_bad
                assert world.registry.deployment("fake").champion.revision == before
            else:
                assert not is_bad
            bad.discard(target)
        is_over.set()
        await asyncio.gather(*loads)
        assert refused >= 15
        assert world.most_alive == 2
        assert len({answer.revision for _, answer in answers}) > 5
        tokenizer = FakeTokenizer(16)
        for text, answer in answers:
            (windows,) = tokenizer.encode([text], "error")
            assert isinstance(windows, tuple)
            expected = vector(answer.revision, plain._vector(np.array(windows[0].ids, dtype=np.int64)))
            np.testing.assert_allclose(values(answer.results[0]), expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5])
async def test_a_canary_answers_its_share_and_the_same_callers(share: float):
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, share))
        first = [await world.revision(key=f"user-{number}") for number in range(2000)]
        assert [await world.revision(key=f"user-{number}") for number in range(100)] == first[:100]
        found = first.count(revision(1)) / len(first)
        assert abs(found - share) < 4 * (share * (1 - share) / len(first)) ** 0.5
        assert {(each.role, each.share) for each in world.service.list_models(CALLER)} == {
            ("champion", None),
            ("canary", share),
        }


async def test_a_canary_that_is_promoted_is_not_loaded_again():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1))
        await world.service.try_out(CALLER, "fake", canary(1, 1.0))
        assert await world.revision(key="anybody") == revision(1)
        assert (await world.service.promote(CALLER, "fake", revision(1))).candidate is None
        assert world.loads == [revision(1)]
        assert world.alive == {revision(1)}


async def test_a_trial_ends_when_it_is_over_or_another_one_begins():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, 1.0))
        await world.service.try_out(CALLER, "fake", canary(2, 1.0))
        assert (await world.revision(key="a"), world.alive) == (revision(2), {revision(0), revision(2)})
        await world.service.try_out(CALLER, "fake", None)
        assert (await world.revision(key="a"), world.alive) == (revision(0), {revision(0)})
        await world.service.try_out(CALLER, "fake", canary(1, 1.0))
        await world.service.promote(CALLER, "fake", revision(3))  # makes room, and the trial begins again
        assert (await world.revision(key="a"), world.most_alive) == (revision(1), 2)
        with pytest.raises(VersionUnfit, match="is the champion"):
            await world.service.try_out(CALLER, "fake", canary(3))


async def test_a_version_can_be_asked_for_by_name():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1))
        for version, expected in (
            ("champion", 0),
            ("canary", 1),
            (revision(1)[:10], 1),
            (revision(0), 0),
        ):
            assert (await world.ask(model=f"fake@{version}")).revision == revision(expected)
            assert world.service.show_model(CALLER, f"fake@{version}").manifest.revision == revision(expected)
        assert world.service.show_model(CALLER, "fake").role == "champion"
        for name in ("fake@", "fake@shadow", f"fake@{revision(2)}", "other@champion", "fake@champion@x"):
            with pytest.raises(ModelUnknown):
                await world.ask(model=name)


async def test_what_the_store_says_is_followed():
    async with running() as world:
        world.rollout.start_following(0.01)
        world.shelf.promote("fake", revision(1))
        world.shelf.try_out("fake", canary(2))
        await asyncio.sleep(0.3)
        assert world.alive == {revision(1), revision(2)}
        assert await world.revision(key="user-0") in {revision(1), revision(2)}
        world.shelf.fails = StoreUnusable("the disk is away")
        await asyncio.sleep(0.05)
        world.shelf.fails = None
        world.shelf.try_out("fake", None)
        world.shelf.promote("fake", revision(0))
        await asyncio.sleep(0.3)
        assert (await world.revision(), world.alive) == (revision(0), {revision(0)})


async def test_a_version_that_cannot_be_loaded_is_refused_and_tried_again_later(monkeypatch: pytest.MonkeyPatch):
    async with running() as world:
        world.shelf.promote("fake", revision(1))
        world.shelf.try_out("fake", canary(2))
        world.shelf.broken |= {revision(1), revision(2)}
        for _ in range(3):
            await world.rollout.settle("fake")
        refused = world.recorder.of(VersionRefused)
        assert [(each.revision, each.code) for each in refused] == [
            (revision(1), "model.corrupt"),
            (revision(2), "model.corrupt"),
        ]
        assert (await world.revision(), world.alive) == (revision(0), {revision(0)})
        world.shelf.broken.clear()
        monkeypatch.setattr(rollout, "_RETRY_S", 0.0)
        world.shelf.try_out("fake", canary(2, 0.2))  # the roles changed
        await world.rollout.settle("fake")
        assert world.alive == {revision(1), revision(2)}


async def test_what_suits_the_champion_need_not_suit_another_version():
    async with running() as world:
        world.unfit.add(revision(1))
        await world.service.promote(CALLER, "fake", revision(1))
        assert await world.revision() == revision(1)


async def test_a_switch_that_the_store_does_not_take_is_taken_back():
    async with running() as world:
        promote = world.shelf.promote
        world.shelf.promote = lambda *_: (_ for _ in ()).throw(StoreUnusable("full"))  # type: ignore[method-assign]
        with pytest.raises(StoreUnusable):
            await world.service.promote(CALLER, "fake", revision(1))
        world.shelf.promote = promote  # type: ignore[method-assign]
        await world.rollout.settle("fake")
        assert await world.revision() == revision(0)


async def test_a_switch_goes_on_when_its_caller_has_left_and_ends_with_the_service():
    async with running() as world:
        promoting = asyncio.create_task(world.service.promote(CALLER, "fake", revision(1)))
        while not world.loads:
            await asyncio.sleep(0.001)
        promoting.cancel()
        await asyncio.sleep(0.3)
        assert await world.revision() == revision(1)
        asyncio.create_task(world.service.promote(CALLER, "fake", revision(2)))  # noqa: RUF006 - ends with the world
        await asyncio.sleep(0)


async def test_nothing_is_loaded_any_more_once_the_service_ends():
    async with running() as world:
        await world.rollout.aclose()
        with pytest.raises(ServiceStopping):
            await world.service.promote(CALLER, "fake", revision(1))
        assert world.loads == []


@pytest.mark.parametrize(("name", "wanted"), [("other", revision(1)), ("fake", "0" * 64), ("fake", "")])
async def test_what_is_not_there_is_named(name: str, wanted: str):
    async with running() as world:
        with pytest.raises(ModelUnknown):
            await world.service.promote(CALLER, name, wanted)
        with pytest.raises(ModelUnknown):
            await world.service.roll_back(CALLER, name)


async def test_what_the_store_says_is_made_so_when_somebody_asks_for_it():
    async with running() as world:
        world.shelf.promote("fake", revision(1))
        world.shelf.try_out("fake", canary(2))
        await world.service.settle(CALLER, "fake")
        assert world.alive == {revision(1), revision(2)}
        await world.service.settle(CALLER, "fake")  # which it is already
        assert world.loads == [revision(1), revision(2)]
        assert world.recorder.of(VersionRefused) == []


@pytest.mark.parametrize("broken", [1, 2])
async def test_who_asks_for_what_the_store_says_is_told_what_cannot_be_loaded(broken: int):
    async with running() as world:
        world.shelf.promote("fake", revision(1))
        world.shelf.try_out("fake", canary(2))
        world.shelf.broken.add(revision(broken))
        await world.rollout.settle("fake")  # which says nothing, and does not try again soon
        for _ in range(2):
            with pytest.raises(VersionUnfit, match=f"{revision(broken)[:12]} cannot answer \\(model.corrupt\\)"):
                await world.service.settle(CALLER, "fake")
        world.shelf.broken.clear()
        await world.rollout.settle("fake")
        assert world.alive == {revision(1), revision(2)}


async def test_what_the_store_says_of_a_model_that_is_not_served_is_not_asked():
    async with running() as world:
        with pytest.raises(ModelUnknown):
            await world.service.settle(CALLER, "other")
        world.shelf.fails = StoreUnusable("away")
        with pytest.raises(StoreUnusable):
            await world.service.settle(CALLER, "fake")


async def test_who_may_not_change_versions_is_refused():
    reader = Caller("reader", frozenset({Scope.INFER, Scope.MODELS_READ}))
    async with running() as world:
        await world.service.roles(reader, "fake")
        for act in (
            world.service.promote(reader, "fake", revision(1)),
            world.service.roll_back(reader, "fake"),
            world.service.settle(reader, "fake"),
            world.service.try_out(reader, "fake", None),
        ):
            with pytest.raises(AccessDenied, match="models:write"):
                await act


async def test_a_shadow_is_compared_and_never_heard(hurried: None):
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, 1.0, "shadow"))
        assert world.stands_back
        texts = [f"wheel {number}" for number in range(20)]
        for text in texts:
            assert (await world.ask(text, key=text)).revision == revision(0)
            await asyncio.sleep(0.02)
        found = world.recorder.of(ShadowCompared)
        assert [(each.outcome, each.texts) for each in found] == [("compared", 1)] * 20
        plain, encoded = FakeBackend(), FakeTokenizer(16).encode(texts, "error")
        for each, windows in zip(found, encoded, strict=True):
            assert isinstance(windows, tuple)
            row = plain._vector(np.array(windows[0].ids, dtype=np.int64))
            first, second = (vector(revision(number), row) for number in (0, 1))
            cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
            assert list(each.agreements) == [pytest.approx(cosine, abs=1e-6)]


async def test_a_shadow_that_is_busy_is_left_out_and_one_that_fails_says_so(hurried: None):
    async with running() as world:
        gate = world.gates[revision(1)] = threading.Event()
        gate.set()
        await world.service.try_out(CALLER, "fake", canary(1, 1.0, "shadow"))
        gate.clear()
        for number in range(10):
            assert (await world.ask(f"wheel {number}")).revision == revision(0)
        outcomes = [each.outcome for each in world.recorder.of(ShadowCompared)]
        assert outcomes == ["skipped"] * 6  # four wait
        gate.set()
        await asyncio.sleep(0.1)
        assert [each.outcome for each in world.recorder.of(ShadowCompared)] == [*outcomes, *["compared"] * 4]
        trial = world.registry.deployment("fake").versions[1]
        await trial.engine.aclose()
        await world.ask("again")
        await asyncio.sleep(0.05)
        assert world.recorder.of(ShadowCompared)[-1].outcome == "service.stopping"


async def test_requests_are_repeated_with_pauses_between_them():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, 1.0, "shadow"))
        for number in range(10):
            await world.ask(f"wheel {number}")
        await asyncio.sleep(0.1)
        await world.ask("later")
        await asyncio.sleep(0.05)
        outcomes = [each.outcome for each in world.recorder.of(ShadowCompared)]
        assert outcomes.count("compared") == len(outcomes) - outcomes.count("skipped")
        assert 2 <= outcomes.count("compared") < 8


async def test_a_share_of_the_requests_is_repeated_and_a_trial_that_ends_ends_it():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, 0.3, "shadow"))
        for number in range(200):
            await world.ask(f"wheel {number}", key=f"user-{number}")
            await asyncio.sleep(0)
        drawn = sum(each.texts for each in world.recorder.of(ShadowCompared))
        assert 30 < drawn < 95
        await world.service.try_out(CALLER, "fake", None)
        before = len(world.recorder.of(ShadowCompared))
        await world.ask("the end")
        assert len(world.recorder.of(ShadowCompared)) == before


async def test_a_shadow_that_is_promoted_is_loaded_anew():
    async with running() as world:
        await world.service.try_out(CALLER, "fake", canary(1, 1.0, "shadow"))
        await world.service.try_out(CALLER, "fake", canary(1, 0.5))  # as a canary it must not stand back
        assert (world.loads, world.stands_back) == ([revision(1)] * 2, False)
        await world.service.try_out(CALLER, "fake", canary(1, 1.0, "shadow"))
        await world.service.promote(CALLER, "fake", revision(1))
        assert (world.loads, world.stands_back) == ([revision(1)] * 4, False)
        assert (world.alive, world.most_alive) == ({revision(1)}, 2)
