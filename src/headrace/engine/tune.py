"""Finds the fastest plan for a model on this machine by trying plans against each other.

One plan is the champion, from the start the one that is safe everywhere. Each other plan challenges it: both engines
are loaded, and take turns at the same work, so that what the machine does meanwhile hits both. A challenger wins if its
answers are the original's, it is faster by more than the noise that the turns showed, and it does not pay for that
with the time of a single text. A tie goes to the champion, which makes the choice come out the same the next time.
"""

import asyncio
import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace.engine.agreement import REQUIRED, Agreement, Reference, answer_reference, compare
from headrace.engine.base import Engine, Job, Output
from headrace.engine.plan import ON_REQUEST, Plan, Precision, Runtime, installed_runtimes, make_plan, precisions
from headrace.engine.plans import NO_TIME, Trial, Tuned
from headrace.engine.workload import SHORT_TEXT, make_texts
from headrace.errors import EngineFailed, HeadraceError
from headrace.machine import Machine
from headrace.settings import EngineSettings

MakeEngine = Callable[[Plan], Engine]
Step = Callable[[str], contextlib.AbstractContextManager[None]]

_TEXTS: Final = 128  # of a turn: some 8,000 tokens, enough for batches of equal lengths
_LEAST_TEXTS: Final = 20  # for a model that is slow: one of each length
_JOB_TEXTS: Final = 32
_TURN_S: Final = 1.0  # a turn that would take longer gets fewer texts
_SINGLES: Final = 15
_LEAST_NOISE: Final = 0.03  # two runs of one plan differ by that much on a quiet machine
_JOB_LIMIT_S: Final = 120.0
_BUDGETS: Final = (512, 2048, 256, 4096)
_MANY_THREADS: Final = 4
# Who is so much faster than the safe plan is faster than every other that computes as the safe one does: in fp32,
# OpenVINO was 1.06 to 1.19 times as fast as ONNX Runtime, our own kernels 1.28 times, with AVX2 and with AVX-512.
_FAR_AHEAD: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is tried.

    Attributes:
        rounds: Turns of each of two plans, at most.
        limit_s: No plan is tried any more after so much time.
        clear_at: Turns end when one plan was so many times as fast as the other.
        has_sizes: Whether sessions and token budgets are tried as well as runtimes and precisions, and also what can
            hardly win: slower precisions of our own kernels, and the safe plan's precision when that is far behind.
    """

    rounds: int
    limit_s: float
    has_sizes: bool
    clear_at: float = math.inf


SHORT: Final = Effort(rounds=3, limit_s=20.0, has_sizes=False, clear_at=1.5)
"""At the first start of a server: the choice that matters most, in seconds."""


@dataclass(slots=True)
class _Entrant:
    """A plan with its engine, started."""

    plan: Plan
    engine: Engine
    latency_s: float
    agreement: Agreement


async def tune(
    settings: EngineSettings,
    machine: Machine,
    reference: Reference,
    make_engine: MakeEngine,
    *,
    effort: Effort,
    step: Step,
) -> Tuned:
    """Try plans within what the options leave open, and return the best.

    Args:
        settings: What the user set is not varied.
        machine: What there is to choose from.
        reference: What the answers must agree with.
        make_engine: Returns an engine for a plan, not started.
        effort: How much is tried.
        step: Told what is being done.

    Raises:
        HeadraceError: Not even the safe plan works.
    """
    tuner = _Tuner(reference, make_engine, effort, step)
    try:
        return await tuner.run(settings, machine)
    finally:
        await tuner.aclose()


def runtime_plans(settings: EngineSettings, machine: Machine) -> list[Plan]:
    """Return a plan for each runtime and precision that the options leave open; the safe one is the first."""
    safe = make_plan(settings, machine)
    found = [
        make_plan(settings.model_copy(update={"runtime": runtime, "precision": precision}), machine)
        for runtime, precision in _choices(settings, machine)
        if settings.precision == precision or precision not in ON_REQUEST
    ]
    # The fastest are known to be at the end: they come first, in case that there is no time for all.
    return [safe, *(plan for plan in reversed(found) if plan != safe)]


def _leave_slower_kernels(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans, and of those with our own kernels only the first: they differ in nothing but the precision."""
    native = [plan for plan in plans if plan.runtime == "native"]
    return [plan for plan in plans if plan not in native[1:]]


def other_plans(settings: EngineSettings, machine: Machine) -> list[Plan]:
    """Return what can be had on request only, and is measured to let the user know."""
    return [
        make_plan(settings.model_copy(update={"runtime": runtime, "precision": precision}), machine)
        for runtime, precision in _choices(settings, machine)
        if settings.precision != precision and precision in ON_REQUEST
    ]


def _choices(settings: EngineSettings, machine: Machine) -> Iterator[tuple[Runtime, Precision]]:
    """Yield the runtimes and precisions that the options leave open."""
    for runtime in installed_runtimes():
        if settings.runtime in {"auto", runtime}:
            for precision in precisions(runtime, machine):
                if settings.precision in {"auto", precision}:
                    yield runtime, precision


def size_plans(settings: EngineSettings, machine: Machine, best: Callable[[], Plan]) -> Iterator[Plan]:
    """Yield other sizes for the best plan so far, as far as the options leave them open."""
    given = settings.model_fields_set
    # The sessions of ``native`` share all threads: there is nothing to choose.
    if "sessions" not in given and settings.threads is None and best().runtime != "native":
        for sessions in _layouts(machine.threads):
            yield best().model_copy(update={"sessions": sessions, "threads": machine.threads // sessions})
    if "token_budget" not in given:
        for budget in _BUDGETS:
            yield best().model_copy(update={"token_budget": budget})


def _layouts(threads: int) -> list[int]:
    """Return numbers of sessions: one thread each, and two threads each where that is something else."""
    return [threads, threads // 2] if threads >= _MANY_THREADS else [threads] if threads > 1 else []


class _Tuner:
    def __init__(self, reference: Reference, make_engine: MakeEngine, effort: Effort, step: Step) -> None:
        self._reference = reference
        self._make_engine = make_engine
        self._effort = effort
        self._step = step
        self._started = time.monotonic()
        self._texts = make_texts(_LEAST_TEXTS)
        self._champion: _Entrant | None = None
        self._running: list[Engine] = []
        self._trials: dict[Plan, Trial] = {}
        self._noise = _LEAST_NOISE
        self._lead = 1.0  # of the champion, before the safe plan
        self._is_whole = effort.has_sizes

    async def run(self, settings: EngineSettings, machine: Machine) -> Tuned:
        """Let all plans challenge each other."""
        first, *others = runtime_plans(settings, machine)
        if not self._effort.has_sizes:
            others = _leave_slower_kernels(others)
        with self._step(f"Trying {first}"):
            champion = self._champion = await self._enter(first)
            await self._fit_texts(champion)
        for plan in others:
            if self._effort.has_sizes or plan.precision != first.precision or self._lead < _FAR_AHEAD:
                await self._try(plan)
        if self._effort.has_sizes:
            for plan in size_plans(settings, machine, self._best):
                await self._try(plan)
            for plan in other_plans(settings, machine):
                await self._try(plan)
        return self._result()

    async def aclose(self) -> None:
        """End all engines."""
        for engine in self._running:
            await engine.aclose()

    def _best(self) -> Plan:
        if self._champion is None:
            raise EngineFailed("no plan was tried yet")
        return self._champion.plan

    async def _try(self, plan: Plan) -> None:
        """Let a plan challenge the champion, if there is time."""
        champion = self._champion
        if champion is None or plan in self._trials:
            return
        if time.monotonic() - self._started > self._effort.limit_s:
            self._is_whole = False
            self._trials[plan] = Trial(plan=plan, verdict=NO_TIME)
            return
        with self._step(f"Trying {plan}"):
            try:
                challenger = await self._enter(plan)
            except HeadraceError as error:  # a runtime that does not work here is none to choose
                self._trials[plan] = Trial(plan=plan, verdict=f"does not work here: {error.message}")
                return
            required = REQUIRED[plan.precision]
            if not challenger.agreement.reaches(required):
                self._record(challenger, [], f"refused: its answers are too far off ({required} are required)")
                await self._leave(challenger)
                return
            await self._duel(champion, challenger)

    async def _enter(self, plan: Plan) -> _Entrant:
        engine = self._make_engine(plan)
        self._running.append(engine)
        await engine.start()
        answers = await answer_reference(engine, self._reference)
        await self._turn(engine)  # warm: libraries prepare themselves for lengths they have not seen
        latency_s = statistics.median([await _time_single(engine) for _ in range(_SINGLES)])
        entrant = _Entrant(plan, engine, latency_s, compare(self._reference, answers))
        self._record(entrant, [], "")
        return entrant

    async def _leave(self, entrant: _Entrant) -> None:
        self._running.remove(entrant.engine)
        await entrant.engine.aclose()

    async def _fit_texts(self, entrant: _Entrant) -> None:
        """Take as many texts as a turn has time for."""
        _, took_s = await self._turn(entrant.engine)
        fitting = int(len(self._texts) * _TURN_S / took_s)
        self._texts = make_texts(min(max(fitting, _LEAST_TEXTS), _TEXTS))
        self._record(entrant, [(await self._turn(entrant.engine))[0]], "chosen")

    async def _duel(self, champion: _Entrant, challenger: _Entrant) -> None:
        pairs: list[tuple[float, float]] = []
        while len(pairs) < self._effort.rounds:
            pairs.append(((await self._turn(champion.engine))[0], (await self._turn(challenger.engine))[0]))
            if max(pairs[-1]) > self._effort.clear_at * min(pairs[-1]):
                break
        ratios = [new / old for old, new in pairs]
        ratio, noise = statistics.median(ratios), max(_LEAST_NOISE, (max(ratios) - min(ratios)) / 2)
        self._noise = max(self._noise, noise)
        is_faster = ratio > 1 + noise
        slowdown = challenger.latency_s / champion.latency_s
        is_eligible = (
            challenger.plan.precision not in ON_REQUEST or challenger.plan.precision == champion.plan.precision
        )
        wins = is_faster and slowdown <= ratio and is_eligible
        if wins:
            verdict = "chosen"
        elif not is_eligible:
            verdict = f"{ratio:.2f} x the speed of the best; ask for it with --precision {challenger.plan.precision}"
        elif is_faster:
            verdict = f"{ratio:.2f} x the speed of the best, but {slowdown:.2f} x its time for one text"
        else:
            verdict = f"{ratio:.2f} x the speed of the best"
        self._record(champion, [old for old, _ in pairs], "beaten" if wins else "chosen")
        self._record(challenger, [new for _, new in pairs], verdict)
        await self._leave(champion if wins else challenger)
        if wins:
            self._champion = challenger
            self._lead *= ratio

    async def _turn(self, engine: Engine) -> tuple[float, float]:
        """Answer all texts as several callers would ask; returns tokens per second, and seconds."""
        started = time.monotonic()
        deadline = started + _JOB_LIMIT_S
        jobs = [
            Job(texts=self._texts[start : start + _JOB_TEXTS], truncate="truncate", deadline=deadline)
            for start in range(0, len(self._texts), _JOB_TEXTS)
        ]
        results = await asyncio.gather(*(engine.run(job) for job in jobs))
        took_s = time.monotonic() - started
        outputs = [item for result in results for item in result.items]
        return sum(item.tokens for item in outputs if isinstance(item, Output)) / took_s, took_s

    def _record(self, entrant: _Entrant, speeds: list[float], verdict: str) -> None:
        """Note what was measured; of several measurements the last."""
        old = self._trials.get(entrant.plan)
        trial = Trial(
            plan=entrant.plan,
            latency_s=entrant.latency_s,
            min_cosine=round(entrant.agreement.min_cosine, 6),
            mean_cosine=round(entrant.agreement.mean_cosine, 6),
            verdict=verdict,
        )
        if speeds:
            median = statistics.median(speeds)
            trial = trial.model_copy(
                update={
                    "tokens_per_s": median,
                    "least_tokens_per_s": min(speeds),
                    "most_tokens_per_s": max(speeds),
                }
            )
        elif old is not None:
            trial = old.model_copy(update={"verdict": verdict})
        self._trials[entrant.plan] = trial

    def _result(self) -> Tuned:
        return Tuned(
            plan=self._best(),
            trials=tuple(self._trials.values()),
            noise=round(self._noise, 4),
            is_whole=self._is_whole,
            took_s=round(time.monotonic() - self._started, 3),
            created_at=datetime.now(UTC),
        )


async def _time_single(engine: Engine) -> float:
    job = Job(texts=(SHORT_TEXT,), truncate="truncate", deadline=time.monotonic() + _JOB_LIMIT_S)
    started = time.monotonic()
    await engine.run(job)
    return time.monotonic() - started
