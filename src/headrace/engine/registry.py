"""The models that are loaded, by name: which of their versions answers whom, and who uses them."""

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from headrace.engine.agreement import REQUIRED, Reference, answer_reference, compare
from headrace.engine.base import SPANS, Engine, Job
from headrace.engine.plan import Plan
from headrace.engine.vocabulary import OUTPUTS
from headrace.errors import HeadraceError, ModelCorrupt, ModelUnknown, PrecisionUnfit
from headrace.models.manifest import Manifest
from headrace.models.roles import Candidate, CandidateKind
from headrace.observe.base import ModelLoaded, Observer
from headrace.types import ModelTask

CHAMPION: Final = "champion"
"""The role of the version that answers."""

_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and the engine that runs it.

    Attributes:
        plan: How the engine runs it.
        reference: What the original model answers to some texts; without it the answers are not compared.
    """

    manifest: Manifest
    engine: Engine
    plan: Plan
    reference: Reference | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    @property
    def revision(self) -> str:
        """Which version it is."""
        return self.manifest.revision


@dataclass(frozen=True, slots=True)
class Deployment:
    """The versions of one model that are loaded.

    Attributes:
        champion: Answers.
        trial: Tried out beside it.
        candidate: How ``trial`` is tried out; both or neither.
    """

    champion: LoadedModel
    trial: LoadedModel | None = None
    candidate: Candidate | None = None

    @property
    def versions(self) -> tuple[LoadedModel, ...]:
        """All of them, the champion first."""
        return (self.champion,) if self.trial is None else (self.champion, self.trial)

    def find(self, version: str) -> LoadedModel | None:
        """Return the version that is named by its role or by what its revision starts with."""
        roles = {CHAMPION: self.champion, self.candidate.kind if self.candidate else "": self.trial}
        matching = [each for each in self.versions if version and each.revision.startswith(version)]
        return roles.get(version) or (matching[0] if len(matching) == 1 else None)

    def route(self, key: str) -> LoadedModel:
        """Return the version that answers a caller: the same one as long as the trial lasts."""
        return self._draw("canary", key) or self.champion

    def shadow(self, key: str) -> LoadedModel | None:
        """Return the version that is asked as well what a caller has asked the champion, if one is."""
        return self._draw("shadow", key)

    def _draw(self, kind: CandidateKind, key: str) -> LoadedModel | None:
        trial, candidate = self.trial, self.candidate
        if trial is None or candidate is None or candidate.kind != kind:
            return None
        digest = hashlib.blake2b(f"{trial.name}/{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return trial if int.from_bytes(digest) < candidate.share * 2**64 else None


class _Hold:
    """One use of a version. A class: a generator makes a context in twice the time, and each request has one."""

    __slots__ = ("_returned", "_user", "_users")

    def __init__(self, users: Counter[int], user: int, returned: asyncio.Event) -> None:
        self._users = users
        self._user = user
        self._returned = returned

    def __enter__(self) -> None:
        self._users[self._user] += 1

    def __exit__(self, *_: object) -> None:
        self._users[self._user] -= 1
        if not self._users[self._user]:
            del self._users[self._user]
            self._returned.set()


class Registry:
    """Loaded models; the first is the one that answers a request that names none."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self._deployments = {model.name: Deployment(model) for model in models}
        self._default = models[0].name
        self._is_ready = False
        self._users: Counter[int] = Counter()
        self._returned = asyncio.Event()
        self._leaving: list[LoadedModel] = []

    def __iter__(self) -> Iterator[LoadedModel]:
        return (deployment.champion for deployment in self._deployments.values())

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """What is loaded, model by model."""
        return tuple(self._deployments.values())

    @property
    def is_ready(self) -> bool:
        """Whether every model has answered a real probe inference and none is being stopped."""
        return self._is_ready and all(model.engine.is_ready for model in self)

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        """Return the least time until some model could let in a text; nothing if one could now.

        Args:
            arriving: Requests that are on their way, to whichever model.
            size_bytes: Of their bodies together.
            tenant: Whose text it is; if that is not known, all that is inside comes before it.
        """
        least = math.inf
        for model in self:
            wait = model.engine.retry_after_s(arriving, size_bytes, tenant)
            if wait is None:
                return None
            least = min(least, wait)
        return least

    def deployment(self, name: str) -> Deployment:
        """Return the loaded versions of a model.

        Raises:
            ModelUnknown: No model of that name is loaded.
        """
        found = self._deployments.get(name)
        if found is None:
            raise ModelUnknown(f"no model {name[:80]!r} is served here; ask for the list of models", field="model")
        return found

    def choose(self, name: str | None, task: ModelTask, key: str = "") -> LoadedModel:
        """Return the model that was named, else the first that does a task, else the first.

        Args:
            name: A model, or one of its loaded versions: ``name@champion``, ``name@canary``, or ``name@`` and what a
                revision begins with.
            task: What a model must do that is not named.
            key: Decides between the champion and a canary, where no version is named.

        Raises:
            ModelUnknown: No model of that name, or no such version, is loaded.
        """
        if name is None:
            does_it = (each for each in self.deployments if each.champion.manifest.task == task)
            return next(does_it, self._deployments[self._default]).route(key)
        model, at, version = name.partition("@")
        return self.find(model, version) if at else self.deployment(model).route(key)

    def find(self, name: str, version: str) -> LoadedModel:
        """Return a version of a model: by its role, or by what its revision begins with.

        Raises:
            ModelUnknown: No model of that name, or no such version, is loaded.
        """
        found = self.deployment(name).find(version)
        if found is None:
            raise ModelUnknown(
                f"no version {version[:80]!r} of {name!r} is loaded; ask for the list of models", field="model"
            )
        return found

    def hold(self, model: LoadedModel) -> AbstractContextManager[None]:
        """Keep a version from being released as long as the context lasts."""
        return _Hold(self._users, id(model), self._returned)

    def count_uses(self, model: LoadedModel) -> int:
        """Return how many hold a version now."""
        return self._users[id(model)]

    def deploy(self, deployment: Deployment) -> None:
        """Let other versions of a model answer from now on; those that did are for the caller to release."""
        self._deployments[deployment.champion.name] = deployment

    async def release(self, model: LoadedModel) -> None:
        """Wait until nobody uses a version any more that is not deployed, and stop it."""
        self._leaving.append(model)
        while self._users[id(model)]:
            self._returned.clear()
            await self._returned.wait()
        await model.engine.aclose()
        self._leaving = [each for each in self._leaving if each is not model]

    async def start(self, observer: Observer) -> None:
        """Start every model.

        Args:
            observer: Hears of each.

        Raises:
            HeadraceError: As of ``start_model``.
        """
        for model in self:
            await start_model(model, observer)
        self._is_ready = True

    async def aclose(self) -> None:
        """Stop every model."""
        self._is_ready = False
        deployed = [model for deployment in self.deployments for model in deployment.versions]
        await asyncio.gather(*(model.engine.aclose() for model in (*deployed, *self._leaving)))


async def start_model(model: LoadedModel, observer: Observer) -> None:
    """Load a model, let it answer a probe, compare what it gives with what its manifest says, and state that as a fact.

    Raises:
        HeadraceError: It does not answer.
        ModelCorrupt: It answers something else than its manifest says.
        PrecisionUnfit: Its answers are too far from the original model's.
    """
    started = time.monotonic()
    await model.engine.start()
    await model.engine.probe()
    await _hold_to_manifest(model)
    if model.reference is not None:
        await _hold_to_reference(model, model.reference)
    observer.observe(ModelLoaded(model=model.name, revision=model.revision, took_s=time.monotonic() - started))


async def _hold_to_manifest(model: LoadedModel) -> None:
    """Run a text of the whole window and compare the outputs' names and shapes."""
    manifest = model.manifest
    text = " ".join([manifest.mask or "a", *["a"] * manifest.max_tokens])
    job = Job(texts=(text,), truncate="truncate", deadline=time.monotonic() + _LIMIT_S)
    item = (await model.engine.run(job)).items[0]
    if isinstance(item, HeadraceError):
        raise ModelCorrupt(
            f"{model.name!r} fails on a text of the {manifest.max_tokens} tokens its manifest allows; import it again"
        ) from item
    found = {name: array.shape for name, array in item.arrays.items() if name != SPANS}  # which no graph gives
    sizes = {"length": item.tokens}
    promised = {each.name: tuple(sizes.get(str(axis), axis) for axis in each.shape[1:]) for each in manifest.outputs}
    if manifest.mask is not None:  # what comes after the graph gives a row for each mask, and more than the graph does
        is_kept = found.keys() == set(OUTPUTS) and bool(len(item.arrays[SPANS]))
    else:
        is_kept = found == promised and found[manifest.outputs[0].name][-1:] == (manifest.dimensions,)
    if not is_kept:
        raise ModelCorrupt(f"{model.name!r} gives {found} and its manifest promises {promised}; import it again")


async def _hold_to_reference(model: LoadedModel, reference: Reference) -> None:
    """Compare answers with the original's: a runtime, a processor or a precision may compute something else."""
    agreement, required = (
        compare(reference, await answer_reference(model.engine, reference)),
        REQUIRED[model.plan.precision],
    )
    if not agreement.reaches(required):
        raise PrecisionUnfit(
            f"{model.name!r} as {model.plan} gives answers with {agreement} to the original's ({required} are"
            f" required); use --precision fp32, or headrace tune {model.name}"
        )
