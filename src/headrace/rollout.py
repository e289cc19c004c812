"""Keeps what is loaded at what the store says: hot swap, rollback and trials, while requests are answered.

The store has what is wanted, and survives a restart; here it is made so. A version is loaded, compared with its
original and answers probes before it gets any request, and one that it replaces is stopped when its last request is
answered. Of a model no more than two versions are in memory at any time.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from headrace.engine.registry import Deployment, LoadedModel, Registry, start_model
from headrace.errors import (
    HeadraceError,
    ModelUnknown,
    PrecisionUnfit,
    RuntimeUnfit,
    ServiceStopping,
    StoreUnusable,
    VersionUnfit,
)
from headrace.models.folder import ModelFolder
from headrace.models.roles import Candidate, Roles
from headrace.observe.base import Observer, VersionRefused, VersionSwitched
from headrace.records.journal import Journal
from headrace.shadow import Shadow

R = TypeVar("R")


class Load(Protocol):
    """Makes models of folders."""

    def __call__(self, folder: ModelFolder, champion: LoadedModel, *, stands_back: bool) -> Sequence[LoadedModel]:
        """Return a model, not started yet, in the ways to run it that are to be tried. Called in a thread.

        Args:
            folder: Its files.
            champion: What answers so far.
            stands_back: Whether it is to compute only when nothing else wants the processor.
        """
        ...


_RETRY_S: Final = 60.0  # a version that could not be loaded may be, when memory or a disk is back


class Store(Protocol):
    """What is wanted, and the files."""

    def roles(self, name: str) -> Roles:
        """Return which versions of a model do what."""
        ...

    def mark(self, name: str) -> object:
        """Return what differs whenever the roles of a model, or its versions, have changed."""
        ...

    def open(self, name: str, revision: str | None = None) -> ModelFolder:
        """Read one version and compare every file with its manifest."""
        ...

    def promote(self, name: str, revision: str) -> Roles:
        """Make another version the champion, and return the roles."""
        ...

    def try_out(self, name: str, candidate: Candidate | None) -> Roles:
        """Try out a version beside the champion, or none any more, and return the roles."""
        ...


class Rollout:
    """Switches versions; one switch of a model at a time.

    Args:
        store: What is wanted.
        registry: What is loaded.
        load: Makes a model of a folder.
        observer: Hears of switches, and of versions that were refused.

    Attributes:
        shadow: Repeats requests at a version that is tried out so.
        journal: For whoever lets a caller promote, roll back or try out a version.
    """

    def __init__(self, store: Store, registry: Registry, load: Load, observer: Observer, journal: Journal) -> None:
        self._store = store
        self._registry = registry
        self._load = load
        self._observer = observer
        self.shadow = Shadow(registry, observer)
        self.journal = journal
        self._locks = {each.champion.name: asyncio.Lock() for each in registry.deployments}
        self._settled: dict[str, tuple[object, float]] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._is_over = False

    def start_following(self, period_s: float) -> None:
        """Look again and again from now on at what the store says, and make it so."""
        self._keep(asyncio.create_task(self._follow(period_s)))

    async def _follow(self, period_s: float) -> None:
        while True:
            for name in self._locks:
                try:
                    await self.settle(name)
                except HeadraceError as error:  # the store is away: what is loaded answers on
                    structlog.get_logger().warning("rollout.store_unread", model=name, reason=error.message)
            await asyncio.sleep(period_s)

    def roles(self, name: str) -> Roles:
        """Return what the store says of a model that is served here; called in a thread.

        Raises:
            ModelUnknown: It is not served here.
            HeadraceError: The store cannot be read.
        """
        self._registry.deployment(name)
        return self._store.roles(name)

    async def settle(self, name: str) -> None:
        """Make what is loaded of a model what the store says of it.

        A version that cannot be loaded is refused: what answered before answers on, and it is tried again when the
        roles change, or after a minute.

        Raises:
            HeadraceError: The store cannot be read.
        """
        await self._alone(name, partial(self._settle, name))

    async def settle_now(self, name: str) -> None:
        """Do as ``settle``, and tell what cannot be loaded.

        Raises:
            ModelUnknown: The model is not served here, or a version that it should have is not there.
            VersionUnfit: As of ``promote``.
            StoreUnusable: As of ``promote``.
        """
        self._registry.deployment(name)
        await self._alone(name, partial(self._settle_now, name))

    async def promote(self, name: str, revision: str) -> Roles:
        """Make another version the champion.

        Raises:
            ModelUnknown: The model is not served here, or there is no such version.
            VersionUnfit: It cannot be loaded or does not answer as it should; what answered before answers on.
            StoreUnusable: The store cannot be read or written.
        """
        self._registry.deployment(name)
        return await self._alone(name, partial(self._promote, name, revision))

    async def roll_back(self, name: str) -> Roles:
        """Make the champion of before the champion again.

        Raises:
            ModelUnknown: The model is not served here, or had no other champion.
            VersionUnfit: As of ``promote``.
            StoreUnusable: As of ``promote``.
        """
        roles = await asyncio.to_thread(self.roles, name)
        if roles.previous is None:
            raise ModelUnknown(f"{name!r} had no other champion yet; promote a version instead", field="model")
        return await self.promote(name, roles.previous)

    async def try_out(self, name: str, candidate: Candidate | None) -> Roles:
        """Try out a version beside the champion, or none any more; of a revision, the begin is enough.

        Raises:
            ModelUnknown: The model is not served here, or there is no such version.
            VersionUnfit: As of ``promote``, or it is the champion.
            StoreUnusable: As of ``promote``.
        """
        self._registry.deployment(name)
        return await self._alone(name, partial(self._try_out, name, candidate))

    async def aclose(self) -> None:
        """Give up what is under way, begin nothing more, and follow the store no more."""
        self._is_over = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.shadow.aclose()

    async def _alone(self, name: str, work: Callable[[], Awaitable[R]]) -> R:
        """Do something to a model that nothing else is done to; it goes on also when whoever asked for it has left.

        Raises:
            ServiceStopping: ``aclose`` was called: what would be loaded now nobody would release.
        """
        if self._is_over:
            raise ServiceStopping("the server is stopping; ask another replica, or again later")

        async def hold() -> R:
            async with self._locks[name]:
                return await work()

        task = asyncio.create_task(hold())
        self._keep(task)
        return await asyncio.shield(task)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _settle(self, name: str) -> None:
        mark = await asyncio.to_thread(self._store.mark, name)
        seen, retry_at = self._settled.get(name, (None, 0.0))
        now = asyncio.get_running_loop().time()
        if mark == seen and now < retry_at:
            return
        roles = await asyncio.to_thread(self._store.roles, name)
        is_done = True
        for revision, step in self._steps(name, roles):
            try:
                await step()
            except HeadraceError as error:
                is_done = False
                self._observer.observe(
                    VersionRefused(model=name, revision=revision, code=error.code, reason=error.message)
                )
        self._settled[name] = mark, math.inf if is_done else now + _RETRY_S

    async def _settle_now(self, name: str) -> None:
        self._settled.pop(name, None)  # whatever fails below, the store is followed again
        for revision, step in self._steps(name, await asyncio.to_thread(self._store.roles, name)):
            with _unfit(name, revision):
                await step()

    def _steps(self, name: str, roles: Roles) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return what is to be done so that a model has its roles, each with the revision that it is about."""
        trial = roles.candidate.revision if roles.candidate else ""
        return (
            (roles.champion, partial(self._switch_champion, name, roles.champion)),
            (trial, partial(self._switch_trial, name, roles.candidate)),
        )

    async def _promote(self, name: str, revision: str) -> Roles:
        self._settled.pop(name, None)  # whatever fails below, the store is followed again
        with _unfit(name, revision):
            folder = await self._open(name, revision)
            await self._switch_champion(name, folder.manifest.revision, folder)
        roles = await asyncio.to_thread(self._store.promote, name, folder.manifest.revision)
        await self._switch_trial(name, roles.candidate)
        return roles

    async def _try_out(self, name: str, candidate: Candidate | None) -> Roles:
        self._settled.pop(name, None)
        folder = None
        with _unfit(name, candidate.revision if candidate else ""):
            if candidate is not None:
                folder = await self._open(name, candidate.revision)
                candidate = candidate.model_copy(update={"revision": folder.manifest.revision})
                self._refuse_champion(name, candidate.revision)
            await self._switch_trial(name, candidate, folder)
        return await asyncio.to_thread(self._store.try_out, name, candidate)

    def _refuse_champion(self, name: str, revision: str) -> None:
        if revision == self._registry.deployment(name).champion.revision:
            raise VersionUnfit(f"{revision[:12]} is the champion of {name!r} already", field="revision")

    async def _switch_champion(self, name: str, revision: str, folder: ModelFolder | None = None) -> None:
        deployed = self._registry.deployment(name)
        if deployed.champion.revision == revision:
            return
        is_canary = deployed.candidate is not None and deployed.candidate.kind == "canary"
        if deployed.trial is not None and deployed.trial.revision == revision and is_canary:
            champion = deployed.trial
        else:
            await self._end_trial(name)  # there would be three, and a shadow stands back for good
            champion = await self._start(name, folder or await self._open(name, revision))
        self._registry.deploy(Deployment(champion))
        self._observer.observe(VersionSwitched(model=name, revision=revision, role="champion"))
        await self._registry.release(deployed.champion)

    async def _switch_trial(self, name: str, candidate: Candidate | None, folder: ModelFolder | None = None) -> None:
        deployed = self._registry.deployment(name)
        if candidate == deployed.candidate:
            return
        if candidate is None:
            await self._end_trial(name)
            return
        trial, before = deployed.trial, deployed.candidate
        if before is None or (before.revision, before.kind) != (candidate.revision, candidate.kind):
            await self._end_trial(name)
            folder = folder or await self._open(name, candidate.revision)
            trial = await self._start(name, folder, stands_back=candidate.kind == "shadow")
        self._registry.deploy(Deployment(deployed.champion, trial, candidate))
        self._observer.observe(VersionSwitched(model=name, revision=candidate.revision, role=candidate.kind))

    async def _end_trial(self, name: str) -> None:
        deployed = self._registry.deployment(name)
        if deployed.trial is not None:
            self._registry.deploy(Deployment(deployed.champion))
            await self._registry.release(deployed.trial)

    async def _open(self, name: str, revision: str) -> ModelFolder:
        return await asyncio.to_thread(self._store.open, name, revision)

    async def _start(self, name: str, folder: ModelFolder, *, stands_back: bool = False) -> LoadedModel:
        """Return a version that is ready, run in the first way that suits it.

        Raises:
            HeadraceError: It cannot be loaded, or does not answer as it should.
        """
        champion = self._registry.deployment(name).champion
        *ways, last = await asyncio.to_thread(partial(self._load, folder, champion, stands_back=stands_back))
        for model in ways:
            try:
                return await self._started(model)
            except (PrecisionUnfit, RuntimeUnfit):
                continue  # what suits the champion does not suit every version
        return await self._started(last)

    async def _started(self, model: LoadedModel) -> LoadedModel:
        try:
            await start_model(model, self._observer)
        except BaseException:
            await model.engine.aclose()
            raise
        return model


@contextlib.contextmanager
def _unfit(name: str, revision: str) -> Iterator[None]:
    """Say of a version that somebody asked for, whatever is wrong with it, that it is unfit."""
    try:
        yield
    except (ModelUnknown, StoreUnusable, VersionUnfit):
        raise
    except HeadraceError as error:
        raise VersionUnfit(
            f"{name}@{revision[:12]} cannot answer ({error.code}): {error.message}", field="revision"
        ) from error
