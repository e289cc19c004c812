"""The spine: what happens to a request, whichever way it came in.

REST, gRPC, a Kafka record, a job and the command line all turn their input into a ``Request``, call
``Service.run`` and turn the ``Answer`` back. Nothing else decides what a request gets.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.auth.base import may_use, require, require_model
from headrace.bounds import require_within
from headrace.cache.base import Cache, make_key
from headrace.cache.flight import SingleFlight
from headrace.cache.results import Results
from headrace.engine.arrivals import Arrivals
from headrace.engine.base import Job, JobResult, Output
from headrace.engine.plan import Plan
from headrace.engine.registry import CHAMPION, Deployment, LoadedModel, Registry
from headrace.errors import (
    DeadlineExceeded,
    HeadraceError,
    TaskUnsupported,
)
from headrace.limits.base import Demand, Limiter
from headrace.limits.bill import Bill
from headrace.models.manifest import Manifest
from headrace.models.roles import Candidate, Roles
from headrace.observe.base import Observer
from headrace.observe.watched import Watched
from headrace.options import Options
from headrace.rollout import Rollout
from headrace.settings import LimitSettings
from headrace.shadow import Answered
from headrace.tasks import TASKS
from headrace.tasks.base import Task
from headrace.types import Answer, Caller, ModelTask, Request, Result, Scope, Text, Timings, Traits, parts_of


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


@dataclass(slots=True)
class _Work:
    """A request that may be answered: which model does what to which texts.

    Attributes:
        options: As the caller chose them, and the model's own where the caller did not.
        texts: What the model has to read.
        bill: Whom it counts for, and what.
        seen: Told what is done.
    """

    request: Request
    model: LoadedModel
    traits: Traits
    task: Task
    options: Options
    texts: tuple[Text, ...]
    bill: Bill
    seen: Watched


class Service:
    """Answers requests. Holds no state of its own but what its parts hold, and which texts are being computed."""

    def __init__(
        self,
        *,
        models: Registry,
        rollout: Rollout,
        limiter: Limiter,
        cache: Cache,
        observer: Observer,
        bounds: LimitSettings,
    ) -> None:
        self._models = models
        self._rollout = rollout
        self._limiter = limiter
        self._results = Results(cache)
        self._flight: SingleFlight[Result] = SingleFlight()
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

    async def _answer(self, work: _Work, key: str) -> Answer:
        seen, request, model = work.seen, work.request, work.model
        keys = _keys(work)
        seen.enter("lookup")
        mark = self._results.mark
        known = await self._results.recall(keys, work.task)  # look up what is remembered
        fresh, runs = await self._compute(work, keys, known, mark)  # run, finish and store
        seen.enter("finish")
        found = {**known, **fresh}
        results = [found[each] for each in keys]
        self._repeat(work, results, key)
        return Answer(
            model=model.name,
            revision=model.revision,
            task=request.task,
            results=work.task.combine(results, request),
            timings=_longest(runs, time.monotonic() - seen.started),
            tokens=sum([result.tokens for result in results]),
            cached=sum(each in known for each in keys),
        )

    def _repeat(self, work: _Work, results: Sequence[Result], key: str) -> None:
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

    def _prepare(self, request: Request, model: LoadedModel, seen: Watched) -> _Work:
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
        return _Work(request, model, traits, task, options, texts, bill, seen)

    async def _compute(
        self, work: _Work, keys: list[bytes], known: Mapping[bytes, Result], mark: int
    ) -> tuple[dict[bytes, Result], list[Timings]]:
        """Run the texts that are not remembered, each different one once, also if other requests want it meanwhile.

        One text that fails fails the request, but the others' results are remembered: asked again without it, they
        cost nothing. A text that another request computes is no remembered one: it was waited for. The times are those
        of the texts that ran for this request; waiting for another's shows in the total alone.
        """
        missing = {key: text for key, text in zip(keys, work.texts, strict=True) if key not in known}
        if not missing:
            return {}, []
        work.seen.enter("wait")  # for the engine, or for another request
        runs: list[Timings] = []

        async def compute(led: Sequence[bytes]) -> dict[bytes, Result | HeadraceError]:
            meanwhile = self._results.since(mark, led)  # by who led while the cache was asked
            texts = {key: missing[key] for key in led if key not in meanwhile}
            if not texts:
                return {**meanwhile}
            outcomes, timings = await self._run_texts(work, texts)
            runs.append(timings)
            return {**meanwhile, **outcomes}

        outcomes = await self._flight.run(missing, compute, work.request.deadline)
        values = {}
        for key in missing:
            outcome = outcomes[key]
            if isinstance(outcome, HeadraceError):
                raise outcome.at(work.task.name_text(keys.index(key), work.request)) from outcome
            values[key] = outcome
        return values, runs

    async def _run_texts(
        self, work: _Work, texts: Mapping[bytes, Text]
    ) -> tuple[dict[bytes, Result | HeadraceError], Timings]:
        """Run texts, finish their results and remember them."""
        job = Job(
            texts=tuple(texts.values()),
            truncate=work.options.truncate,
            deadline=work.request.deadline,
            tenant=work.request.caller.tenant,
        )
        with work.bill.computing(job.texts):
            result = await _run_until(work.request.deadline, work.model, job)
        work.bill.tokens += sum([item.tokens for item in result.items if isinstance(item, Output)])
        work.seen.ran(result.timings)
        items = dict(zip(texts, result.items, strict=True))
        found = {key: _finish(work, texts[key], item) for key, item in items.items()}
        values = {key: value for key, value in found.items() if isinstance(value, Result)}
        await self._results.remember(values, work.task)
        return found, result.timings


def _finish(work: _Work, text: Text, item: Output | HeadraceError) -> Result | HeadraceError:
    """Return the result of a text, or why there is none."""
    if isinstance(item, HeadraceError):
        return item
    try:
        return work.task.finish(text, item.windows, item.truncated, work.options, work.traits)
    except HeadraceError as error:
        return error


def _describe(deployment: Deployment) -> list[ServedModel]:
    champion, trial, candidate = deployment.champion, deployment.trial, deployment.candidate
    found = [ServedModel(champion.manifest, champion.plan, CHAMPION, None)]
    if trial is not None and candidate is not None:
        found.append(ServedModel(trial.manifest, trial.plan, candidate.kind, candidate.share))
    return found


def _keys(work: _Work) -> list[bytes]:
    manifest = work.model.manifest
    # The precision: whoever asked for fp32 must not be given what another replica computed in bf16.
    options = f"{work.options.canonical(work.task.options)},precision={work.model.plan.precision}"
    return [
        make_key(
            revision=manifest.revision,
            task=manifest.task,
            options=options,
            scope=work.request.caller.tenant,
            texts=parts_of(text),
        )
        for text in work.texts
    ]


async def _run_until(deadline: float, model: LoadedModel, job: Job) -> JobResult:
    """Run a job, and give up at the deadline also when its texts are being computed already."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await model.engine.run(job)
    except TimeoutError as error:
        raise DeadlineExceeded("the answer was not there in time; send less at once, or ask again later") from error


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
