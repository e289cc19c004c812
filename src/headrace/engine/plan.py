"""How a model is run on this machine: what is measured, chosen, and told to whoever asks.

What the options leave open is filled from what ``headrace tune`` measured here, and without that from what is safe
everywhere: fp32 on one session with all threads.
"""

import importlib.util
from collections.abc import Sequence
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from headrace.errors import DependencyMissing, SettingInvalid
from headrace.machine import Machine
from headrace.settings import EngineSettings

Runtime = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16"]

PRECISIONS: Final[dict[Runtime, tuple[Precision, ...]]] = {"onnxruntime": ("fp32",), "openvino": ("fp32", "bf16")}
"""What each runtime computes in; ONNX Runtime has no bfloat16 on x86."""
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})  # without them it is emulated, and slower than fp32


class Plan(BaseModel):
    """How one model is run.

    Attributes:
        precision: What the runtime computes in; answers are float32 always.
        threads: Threads of one inference.
        sessions: Inferences at the same time.
        token_budget: Most tokens in one batch, padding included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: Runtime
    precision: Precision
    threads: int = Field(ge=1)
    sessions: int = Field(ge=1)
    token_budget: int = Field(ge=1)

    def __str__(self) -> str:
        sizes = f"{self.sessions} x {self.threads} threads, batches of {self.token_budget} tokens"
        return f"{self.runtime} {self.precision}, {sizes}"


def installed_runtimes() -> tuple[Runtime, ...]:
    """Return the runtimes that can be imported here."""
    return tuple(name for name in get_args(Runtime) if importlib.util.find_spec(name) is not None)


def precisions(runtime: Runtime, machine: Machine) -> tuple[Precision, ...]:
    """Return what a runtime can compute in at full speed on this machine."""
    has_bf16 = bool(_BF16_FLAGS & set(machine.cpu_flags))
    return tuple(precision for precision in PRECISIONS[runtime] if precision != "bf16" or has_bf16)


def make_plan(settings: EngineSettings, machine: Machine, tuned: Plan | None = None) -> Plan:
    """Return the plan that the options ask for.

    Args:
        settings: What the user set; what was not set is open.
        machine: Where it will run.
        tuned: What was measured to be best here, for what is open.

    Raises:
        DependencyMissing: The runtime that was asked for is not installed.
        SettingInvalid: The runtime cannot compute in the precision that was asked for.
    """
    runtime = _runtime(settings, tuned)
    precision = _precision(settings, runtime, tuned)
    is_same = tuned is not None and (tuned.runtime, tuned.precision) == (runtime, precision)
    base = tuned if is_same else None  # sizes that suit one runtime say nothing about another
    given = settings.model_fields_set
    sessions = settings.sessions if base is None or "sessions" in given else base.sessions
    threads = settings.threads or (base.threads if base and sessions == base.sessions else None)
    return Plan(
        runtime=runtime,
        precision=precision,
        threads=threads or max(1, machine.threads // sessions),
        sessions=sessions,
        token_budget=settings.token_budget if base is None or "token_budget" in given else base.token_budget,
    )


def settle(settings: EngineSettings, plan: Plan) -> EngineSettings:
    """Return the options with nothing left open."""
    return settings.model_copy(update=plan.model_dump())


def _runtime(settings: EngineSettings, tuned: Plan | None) -> Runtime:
    installed = installed_runtimes()
    wanted = _find_runtime(settings, tuned, installed) if settings.runtime == "auto" else settings.runtime
    if wanted not in installed:
        raise DependencyMissing(f"the runtime {wanted!r} is not installed; run: pip install 'headrace[{wanted}]'")
    return wanted


def _find_runtime(settings: EngineSettings, tuned: Plan | None, installed: Sequence[Runtime]) -> Runtime:
    """Return the runtime that was measured to be best, or the first, among those that have the precision."""
    suited = [name for name in get_args(Runtime) if settings.precision in {"auto", *PRECISIONS[name]}]
    is_known = tuned is not None and tuned.runtime in suited and tuned.runtime in installed
    return tuned.runtime if tuned is not None and is_known else suited[0]


def _precision(settings: EngineSettings, runtime: Runtime, tuned: Plan | None) -> Precision:
    if settings.precision == "auto":
        return tuned.precision if tuned is not None and tuned.runtime == runtime else "fp32"
    if settings.precision not in PRECISIONS[runtime]:
        raise SettingInvalid(
            f"{runtime} does not compute in {settings.precision!r}; leave engine.runtime or engine.precision to auto",
            field="engine.precision",
        )
    return settings.precision
