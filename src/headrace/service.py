"""The spine: what happens to a request, whichever way it came in.

REST, gRPC, a Kafka record, a job and the command line all turn their input into a ``Request``, call
``Service.run`` and turn the ``Answer`` back. Nothing else decides what a request gets.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from headrace.answering import Answering, Work
from headrace.auth.base import may_use, require, require_model
from headrace.bounds import require_within
from headrace.cache.results import Results
from headrace.engine.arrivals import Arrivals
from headrace.engine.plan import Plan
from headrace.engine.registry import CHAMPION, Deployment, LoadedModel, Registry
from headrace.errors import (
    TaskUnsupported,
)
from headrace.limits.base import Demand, Limiter
from headrace.limits.bill import Bill
from headrace.models.manifest import Manifest
from headrace.models.roles import Candidate, Roles
from headrace.observe.base import Observer
from headrace.observe.watched import Watched
from headrace.rollout import Rollout
from headrace.settings import LimitSettings
from headrace.shadow import Answered
from headrace.tasks import TASKS
from headrace.types import Answer, Caller, ModelTask, Request, Result, Scope, Timings


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version of a model that is loaded, and how it is run here.

    Attributes:
        role: ``champion``, ``canary`` or ``shadow``.
        share: Of the traffic that it is tried out with; of a champion nothing.
    """

    manifest: Manifest
    plan: Plan
    role: str
    share: float | None


class Service:
    """Answers requests. Holds no state of its own but what its parts hold."""

    def __init__(
        self,
        *,
        models: Registry,
        rollout: Rollout,
        limiter: Limiter,
        results: Results,
        observer: Observer,
        bounds: LimitSettings,
    ) -> None:
        self._models = models
        self._rollout = rollout
        self._limiter = limiter
        self._answering = Answering(results)
        self._observer = observer
        self._bounds = bounds
        self._arrivals = Arrivals(models.retry_after_s)

    @property
    def is_ready(self) -> bool:
        """Whether a request sent now would be answered: every model has passed a real probe."""
        return self._models.is_ready

    async def run(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            HeadraceError: Why there is no answer; ``field`` names the input that is to blame, if one is.
        """
        started = time.monotonic()
        self._arrivals.arrive()
        with Watched(self._observer, request, started) as seen:
            require(request.caller, Scope.INFER)  # authorise; each step is told where ``seen`` enters it
            key = request.routing_key or request.request_id
            model = self._models.choose(request.model, TASKS[request.task].model, key)  # look up the model
            require_model(request.caller, model.name)
            seen.model, seen.revision = model.name, model.revision
            with self._models.hold(model):
                seen.enter("prepare")
                work = self._prepare(request, model, seen)  # prepare
                seen.enter("limit")
                async with work.bill:  # limit, and on leaving the block settle what was used
                    answer = await self._answer(work, key)
                seen.answer = replace(answer, allowances=work.bill.allowances) if work.bill.allowances else answer
            return seen.answer  # observe: on leaving the block

    async def _answer(self, work: Work, key: str) -> Answer:
        seen, request, model = work.seen, work.request, work.model
        found = await self._answering.find(work)  # look up what is remembered; run, finish and store the rest
        seen.enter("finish")
        self._repeat(work, found.results, key)
        return Answer(
            model=model.name,
            revision=model.revision,
            task=request.task,
            results=work.task.combine(found.results, request),
            timings=_longest(found.runs, time.monotonic() - seen.started),
            tokens=sum([result.tokens for result in found.results]),
            cached=found.cached,
            is_remembered=found.cached == len(work.texts),
        )

    def _repeat(self, work: Work, results: Sequence[Result], key: str) -> None:
        """Let a shadow have what the champion has answered, if there is one."""
        deployment = self._models.deployment(work.model.name)
        shadow = deployment.shadow(key)
        if shadow is not None and work.model is deployment.champion:
            answered = Answered(task=work.task, options=work.options, texts=work.texts, results=tuple(results))
            self._rollout.shadow.repeat(shadow, answered, is_busy=self._models.count_uses(work.model) > 1)

    def refuse_if_full(self, size_bytes: int, tenant_of: Callable[[], str | None]) -> None:
        """Refuse a request before anything of it is read, if no model could let in even one text of who asks.

        What overload costs is then decided by this, so it looks nothing up: an answer that is remembered is refused as
        well. Nobody is told of it here: there may be thousands a second.

        Args:
            size_bytes: Of the body; as many as it may have if that is not known.
            tenant_of: Tells who asks; nothing if that is not known. It is called only when the queues are full.

        Raises:
            QueueFull: The queues of all models are full, or will be, and who asks has its share of them.
        """
        self._arrivals.admit(size_bytes, tenant_of)

    @property
    def served_tasks(self) -> dict[str, ModelTask]:
        """What each model that is served does, by its name."""
        return {each.champion.name: each.champion.manifest.task for each in self._models.deployments}

    def task_of(self, caller: Caller, name: str) -> ModelTask:
        """Return what a model does.

        Raises:
            AccessDenied: The caller may not ask it.
            ModelUnknown: It is not loaded.
        """
        require(caller, Scope.INFER)
        model = name.partition("@")[0]
        require_model(caller, model)
        return self._models.deployment(model).champion.manifest.task

    def list_models(self, caller: Caller) -> list[ServedModel]:
        """Return what can be said of the loaded models that a caller may use, of each the champion first.

        Raises:
            AccessDenied: The caller may not see them.
        """
        require(caller, Scope.MODELS_READ)
        return [
            served
            for deployment in self._models.deployments
            for served in _describe(deployment)
            if may_use(caller, served.manifest.name)
        ]

    def show_model(self, caller: Caller, name: str) -> ServedModel:
        """Return what can be said of one loaded model, or of one of its versions (``name@version``).

        Raises:
            AccessDenied: The caller may not see it.
            ModelUnknown: It is not loaded.
        """
        require(caller, Scope.MODELS_READ)
        model, _, version = name.partition("@")
        require_model(caller, model)
        chosen = self._models.find(model, version or CHAMPION)
        described = _describe(self._models.deployment(model))
        return next(served for served in described if served.manifest.revision == chosen.revision)

    async def roles(self, caller: Caller, name: str) -> Roles:
        """Return which versions of a model do what.

        Raises:
            AccessDenied: The caller may not see it.
            ModelUnknown: It is not served here.
            StoreUnusable: The store cannot be read.
        """
        require(caller, Scope.MODELS_READ)
        require_model(caller, name)
        return await asyncio.to_thread(self._rollout.roles, name)

    async def promote(self, caller: Caller, name: str, revision: str) -> Roles:
        """Make another version the champion; it answers when this returns.

        Raises:
            AccessDenied: The caller may not do that.
            ModelUnknown: The model is not served here, or has no such version.
            VersionUnfit: It cannot be loaded, or does not answer as it should.
            StoreUnusable: The store cannot be read or written.
            RecordsUnusable: It cannot be noted who did it.
        """
        async with self._changing(caller, "model.promoted", name, revision):
            return await self._rollout.promote(name, revision)

    async def settle(self, caller: Caller, name: str) -> None:
        """Let those versions of a model answer that the store says; raises as ``promote``."""
        async with self._changing(caller, "model.settled", name):
            await self._rollout.settle_now(name)

    async def roll_back(self, caller: Caller, name: str) -> Roles:
        """Make the champion of before the champion again; raises as ``promote``."""
        async with self._changing(caller, "model.rolled_back", name):
            return await self._rollout.roll_back(name)

    async def try_out(self, caller: Caller, name: str, candidate: Candidate | None) -> Roles:
        """Try out a version beside the champion, or none any more; raises as ``promote``."""
        action = "trial.ended" if candidate is None else f"{candidate.kind}.started"
        async with self._changing(caller, action, name, candidate.revision if candidate else ""):
            return await self._rollout.try_out(name, candidate)

    @contextlib.asynccontextmanager
    async def _changing(self, caller: Caller, action: str, name: str, revision: str = "") -> AsyncIterator[None]:
        """Let a caller change which version of a model answers, if it may, and note that."""
        require(caller, Scope.MODELS_WRITE)
        require_model(caller, name)
        async with self._rollout.journal.noted(caller, action, f"{name}@{revision}" if revision else name):
            yield

    def _prepare(self, request: Request, model: LoadedModel, seen: Watched) -> Work:
        """Check what every door must check alike, and settle what the caller left open."""
        task = TASKS[request.task]
        if model.manifest.task != task.model:
            raise TaskUnsupported(
                f"{model.name!r} does {model.manifest.task!r}, not {request.task!r}; name another model", field="model"
            )
        require_within(self._bounds, request)
        traits = model.manifest.traits
        texts = task.expand(request, traits)  # checks the options
        options = request.options.resolved(normalize=model.manifest.normalize)
        window = None if options.truncate == "chunk" else model.manifest.max_tokens
        bill = Bill(self._limiter, Demand(request.caller, model.name, texts, window, request.deadline))
        return Work(request, model, traits, task, options, texts, bill, seen)


def _describe(deployment: Deployment) -> list[ServedModel]:
    champion, trial, candidate = deployment.champion, deployment.trial, deployment.candidate
    found = [ServedModel(champion.manifest, champion.plan, CHAMPION, None)]
    if trial is not None and candidate is not None:
        found.append(ServedModel(trial.manifest, trial.plan, candidate.kind, candidate.share))
    return found


def _longest(runs: Sequence[Timings], total_s: float) -> Timings:
    """Return the longest of each time; there is more than one run if another request gave up a text in the middle."""
    if not runs:
        return Timings(total_s=total_s)
    return Timings(
        queue_s=max([run.queue_s for run in runs]),
        tokenize_s=max([run.tokenize_s for run in runs]),
        run_s=max([run.run_s for run in runs]),
        total_s=total_s,
    )
