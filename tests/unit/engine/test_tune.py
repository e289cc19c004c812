import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from headrace.engine import plan as plan_module
from headrace.engine import tune as tune_module
from headrace.engine.agreement import Reference
from headrace.engine.base import Job, JobResult, Output
from headrace.engine.plan import Plan
from headrace.engine.plans import Trial, Tuned
from headrace.engine.tune import SHORT, Effort, runtime_plans, tune
from headrace.engine.workload import make_texts
from headrace.errors import EngineFailed, HeadraceError
from headrace.machine import Machine
from headrace.settings import EngineSettings
from headrace.types import Timings, Window, parts_of

MACHINE = Machine(cpus=2.0, memory_bytes=1 << 30, cpu_model="", cpu_flags=("avx512_bf16",))
ANSWER = {"embedding": np.array([0.6, 0.8], dtype=np.float32)}
REFERENCE = Reference(("a", "b"), (ANSWER, ANSWER))
WHOLE = Effort(rounds=3, limit_s=1e9, has_sizes=True)


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Behaviour:
    """How an engine does with a plan: tokens per second, seconds for each call, what it answers."""

    speed: float = 1000.0
    overhead_s: float = 0.0005
    answer: np.ndarray = field(default_factory=lambda: ANSWER["embedding"])
    failure: HeadraceError | None = None
    wobble: float = 0.0
    turns: int = 0


@dataclass
class Bench:
    """Engines for plans, on a clock of its own."""

    clock: Clock
    behaviours: dict[tuple[str, str], Behaviour]
    sessions: dict[int, float] = field(default_factory=dict)
    budgets: dict[int, float] = field(default_factory=dict)
    open: list["TimedEngine"] = field(default_factory=list)
    most_open: int = 0

    def make(self, plan: Plan) -> "TimedEngine":
        return TimedEngine(self, plan, self.behaviours[plan.runtime, plan.precision])


@dataclass
class TimedEngine:
    bench: Bench
    plan: Plan
    does: Behaviour
    is_ready = True

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        raise NotImplementedError

    async def start(self) -> None:
        if self.does.failure is not None:
            raise self.does.failure
        self.bench.open.append(self)
        self.bench.most_open = max(self.bench.most_open, len(self.bench.open))

    async def run(self, job: Job) -> JobResult:
        tokens = [len(" ".join(parts_of(text)).split()) + 2 for text in job.texts]
        speed = self.does.speed * self.bench.budgets.get(self.plan.token_budget, 1.0)
        speed *= self.bench.sessions.get(self.plan.sessions, 1.0) if len(job.texts) > 1 else 1 / self.plan.sessions
        self.does.turns += len(job.texts) > 1
        speed *= 1 + self.does.wobble * (-1) ** (self.does.turns // 4)
        self.bench.clock.now += self.does.overhead_s + sum(tokens) / speed
        arrays = {"embedding": self.does.answer}
        items = tuple(
            Output(windows=(Window(arrays=arrays, tokens=count, weight=count),), truncated=False) for count in tokens
        )
        return JobResult(items=items, timings=Timings())

    async def probe(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        if self in self.bench.open:
            self.bench.open.remove(self)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    clock = Clock()
    monkeypatch.setattr(tune_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    for module in (plan_module, tune_module):
        monkeypatch.setattr(module, "installed_runtimes", lambda: ("onnxruntime", "openvino"))
    made = Bench(
        clock,
        {
            ("onnxruntime", "fp32"): Behaviour(10_000.0),
            ("openvino", "fp32"): Behaviour(12_000.0),
            ("openvino", "bf16"): Behaviour(20_000.0),
        },
    )
    yield made
    assert made.open == [], "an engine was left running"


async def tuned(
    bench: Bench, effort: Effort = SHORT, settings: EngineSettings | None = None, machine: Machine = MACHINE
) -> Tuned:
    steps: list[str] = []

    def step(text: str) -> contextlib.AbstractContextManager[None]:
        steps.append(text)
        return contextlib.nullcontext()

    found = await tune(settings or EngineSettings(), machine, REFERENCE, bench.make, effort=effort, step=step)
    tried = [trial for trial in found.trials if "not tried" not in trial.verdict]
    assert steps == [f"Trying {trial.plan}" for trial in tried]
    assert [trial.plan for trial in found.trials if trial.verdict == "chosen"] == [found.plan]
    return found


def verdict(found: Tuned, **wanted: object) -> Trial:
    return next(t for t in found.trials if all(getattr(t.plan, key) == value for key, value in wanted.items()))


async def test_the_fastest_runtime_and_precision_win(bench: Bench):
    found = await tuned(bench)
    assert (found.plan.runtime, found.plan.precision) == ("openvino", "bf16")
    assert verdict(found, runtime="onnxruntime").verdict == "beaten"
    assert bench.most_open == 2  # a champion and a challenger, however many plans there are
    assert not found.is_whole
    best = verdict(found, precision="bf16")
    assert best.tokens_per_s == pytest.approx(20_000, rel=0.2)
    assert best.least_tokens_per_s <= best.tokens_per_s <= best.most_tokens_per_s


async def test_a_precision_whose_answers_are_off_is_refused_however_fast(bench: Bench):
    bench.behaviours["openvino", "bf16"].answer = np.array([0.8, 0.6], dtype=np.float32)
    found = await tuned(bench)
    assert found.plan.precision == "fp32"
    assert verdict(found, precision="bf16").verdict.startswith("refused: its answers are too far off")
    assert verdict(found, precision="bf16").min_cosine == pytest.approx(0.96)


@pytest.fixture
def kernels(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine with our own kernels, of which int8 is the fastest of all."""
    for module in (plan_module, tune_module):
        monkeypatch.setattr(module, "installed_runtimes", lambda: ("onnxruntime", "native"))
    bench.behaviours["native", "fp32"] = Behaviour(13_000.0)
    bench.behaviours["native", "int16"] = Behaviour(18_000.0)
    bench.behaviours["native", "bf16"] = Behaviour(30_000.0)
    bench.behaviours["native", "int8"] = Behaviour(50_000.0)
    return Machine(
        cpus=2.0, memory_bytes=1, cpu_model="", cpu_flags=("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni")
    )


async def test_int8_is_measured_and_taken_only_if_it_is_asked_for(bench: Bench, kernels: Machine):
    found = await tuned(bench, WHOLE, machine=kernels)
    assert (found.plan.runtime, found.plan.precision) == ("native", "bf16")
    assert verdict(found, precision="int8").verdict.endswith("the speed of the best; ask for it with --precision int8")
    assert verdict(found, precision="int8").tokens_per_s > 40_000
    found = await tuned(bench, WHOLE, EngineSettings(precision="int8"), machine=kernels)
    assert {trial.plan.precision for trial in found.trials} == {"int8"}


async def test_a_short_tune_does_not_try_what_it_may_not_choose(bench: Bench, kernels: Machine):
    found = await tuned(bench, SHORT, machine=kernels)
    assert "int8" not in {trial.plan.precision for trial in found.trials}


async def test_a_short_tune_tries_the_fastest_kernels_and_a_whole_one_all(bench: Bench, kernels: Machine):
    def tried(found: Tuned) -> set[str]:
        return {trial.plan.precision for trial in found.trials if trial.plan.runtime == "native"}

    short = await tuned(bench, SHORT, machine=kernels)
    assert (tried(short), short.plan.precision) == ({"bf16"}, "bf16")
    older = replace(kernels, cpu_flags=("avx2", "fma"))
    assert (await tuned(bench, SHORT, machine=older)).plan.precision == "int16"
    whole = await tuned(bench, WHOLE, machine=kernels)
    assert (tried(whole), whole.plan.precision) == ({"fp32", "int16", "bf16", "int8"}, "bf16")


@pytest.mark.parametrize(("speed", "is_tried"), [(14_000.0, True), (16_000.0, False)])
async def test_a_short_tune_leaves_what_computes_as_the_safe_plan_when_that_is_far_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, speed: float, is_tried: bool
):
    for module in (plan_module, tune_module):
        monkeypatch.setattr(module, "installed_runtimes", lambda: ("onnxruntime", "openvino", "native"))
    bench.behaviours["native", "int16"] = bench.behaviours["native", "fp32"] = Behaviour(speed)
    machine = replace(MACHINE, cpu_flags=("avx2", "fma"))
    short = await tuned(bench, SHORT, machine=machine)
    assert ("openvino" in {trial.plan.runtime for trial in short.trials}) == is_tried
    assert short.plan.runtime == "native"
    whole = await tuned(bench, WHOLE, machine=machine)
    assert "openvino" in {trial.plan.runtime for trial in whole.trials}


async def test_a_short_tune_tries_a_faster_precision_however_far_the_safe_plan_is_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    for module in (plan_module, tune_module):
        monkeypatch.setattr(module, "installed_runtimes", lambda: ("onnxruntime", "openvino", "native"))
    bench.behaviours["native", "bf16"] = Behaviour(19_000.0)
    machine = replace(MACHINE, cpu_flags=("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni"))
    bench.behaviours["openvino", "bf16"] = Behaviour(40_000.0)  # as with AMX
    assert (await tuned(bench, SHORT, machine=machine)).plan.runtime == "openvino"


async def test_the_sessions_of_the_native_runtime_are_not_varied(bench: Bench, kernels: Machine):
    found = await tuned(bench, WHOLE, machine=kernels)
    native = [trial.plan for trial in found.trials if trial.plan.runtime == "native"]
    assert {(plan.sessions, plan.threads) for plan in native} == {(2, 2)}
    assert {plan.token_budget for plan in native} == {256, 512, 2048, 4096}


async def test_int8_that_is_too_far_off_is_refused(bench: Bench, kernels: Machine):
    bench.behaviours["native", "int8"].answer = np.array([0.65, 0.76], dtype=np.float32)
    found = await tuned(bench, WHOLE, machine=kernels)
    assert verdict(found, precision="int8").verdict.startswith(
        "refused: its answers are too far off (cosines of 0.9960"
    )


async def test_a_runtime_that_does_not_work_is_not_chosen(bench: Bench):
    bench.behaviours["openvino", "bf16"].failure = EngineFailed("illegal instruction")
    found = await tuned(bench)
    assert (found.plan.runtime, found.plan.precision) == ("openvino", "fp32")
    assert verdict(found, precision="bf16").verdict == "does not work here: illegal instruction"


async def test_if_not_even_the_safe_plan_works_the_caller_hears_why(bench: Bench):
    bench.behaviours["onnxruntime", "fp32"].failure = EngineFailed("no model")
    with pytest.raises(EngineFailed, match="no model"):
        await tuned(bench)


async def test_a_tie_goes_to_the_champion(bench: Bench):
    bench.behaviours["openvino", "fp32"].speed = bench.behaviours["openvino", "bf16"].speed = 10_200.0
    assert (await tuned(bench)).plan.runtime == "onnxruntime"


async def test_noise_raises_what_a_challenger_must_win_by(bench: Bench):
    bench.behaviours["openvino", "bf16"] = Behaviour(9_000.0)
    bench.behaviours["openvino", "fp32"] = Behaviour(10_800.0, wobble=0.15)  # 8 % faster, and it varies by more
    found = await tuned(bench)
    assert found.plan.runtime == "onnxruntime"
    assert found.noise > 0.05


async def test_throughput_is_not_bought_with_the_time_of_a_single_text(bench: Bench):
    bench.sessions = {2: 1.3}  # two sessions of one thread: a single text takes twice as long
    found = await tuned(bench, WHOLE)
    assert found.plan.sessions == 1
    assert "its time for one text" in verdict(found, sessions=2).verdict


async def test_the_best_sizes_are_found(bench: Bench):
    bench.budgets = {512: 1.2, 256: 1.1, 2048: 0.8}
    found = await tuned(bench, WHOLE)
    assert found.plan.token_budget == 512
    assert found.is_whole
    assert {trial.plan.token_budget for trial in found.trials} == {256, 512, 1024, 2048, 4096}


async def test_what_the_user_set_is_not_varied(bench: Bench):
    settings = EngineSettings(runtime="openvino", precision="fp32", threads=1, token_budget=300)
    found = await tuned(bench, WHOLE, settings)
    assert [trial.plan for trial in found.trials] == [found.plan]
    assert found.plan == Plan(runtime="openvino", precision="fp32", threads=1, sessions=1, token_budget=300)


async def test_without_time_nothing_new_is_tried(bench: Bench):
    found = await tuned(bench, Effort(rounds=2, limit_s=0.0, has_sizes=True))
    assert found.plan.runtime == "onnxruntime"
    assert not found.is_whole
    assert {trial.verdict for trial in found.trials} == {"chosen", "not tried: no time left"}


async def test_a_slow_model_gets_shorter_turns(bench: Bench):
    for behaviour in bench.behaviours.values():
        behaviour.speed /= 50
    began = bench.clock.now
    found = await tuned(bench, Effort(rounds=3, limit_s=1e9, has_sizes=False))
    assert found.plan.precision == "bf16"
    assert bench.clock.now - began < 200  # with 128 texts in a turn it would be 600


@pytest.mark.parametrize(("speed", "turns"), [(10_800.0, 3), (40_000.0, 1), (2_500.0, 1)])
async def test_who_is_far_ahead_or_far_behind_need_not_be_timed_again(bench: Bench, speed: float, turns: int):
    bench.behaviours["openvino", "bf16"].speed = speed
    only = EngineSettings(runtime="openvino", threads=1)
    brief, whole = [await _turns(bench, replace(SHORT, clear_at=clear), only) for clear in (1.5, math.inf)]
    assert whole - brief == (3 - turns) * 4  # jobs of a turn


async def _turns(bench: Bench, effort: Effort, settings: EngineSettings) -> int:
    behaviour = bench.behaviours["openvino", "bf16"]
    before = behaviour.turns
    await tuned(bench, effort, settings)
    return behaviour.turns - before


async def test_one_thread_leaves_no_layout_to_try(bench: Bench):
    one = Machine(cpus=1.0, memory_bytes=1, cpu_model="", cpu_flags=())
    found = await tune(
        EngineSettings(), one, REFERENCE, bench.make, effort=WHOLE, step=lambda _: contextlib.nullcontext()
    )
    assert {(trial.plan.sessions, trial.plan.threads) for trial in found.trials} == {(1, 1)}


def test_the_safe_plan_comes_first_and_then_what_is_fastest_elsewhere(bench: Bench):
    assert [(plan.runtime, plan.precision) for plan in runtime_plans(EngineSettings(), MACHINE)] == [
        ("onnxruntime", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "fp32"),
    ]


def test_the_texts_differ_and_mix_long_ones_among_short_ones():
    texts = make_texts(128)
    assert len(set(texts)) == len(texts)
    words = [len(text.split()) for text in texts]
    assert (min(words), max(words)) == (4, 318)
    assert max(words[:20]) == max(words[20:40]) == 318
    assert make_texts(128) == texts
