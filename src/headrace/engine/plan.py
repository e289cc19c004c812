"""How a model is run on this machine: what is measured, chosen, and told to whoever asks.

What the options leave open is filled from what ``headrace tune`` measured here, and without that from what is safe
everywhere: fp32 on one session with all threads.
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from headrace.errors import DependencyMissing, SettingInvalid
from headrace.machine import Machine
from headrace.settings import EngineSettings

Runtime = Literal["onnxruntime", "openvino", "native"]
Precision = Literal["fp32", "int16", "bf16", "int8"]

PRECISIONS: Final[Mapping[Runtime, tuple[Precision, ...]]] = {
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16"),
    "native": ("fp32", "int16", "bf16", "int8"),
}
"""What each runtime computes in; ONNX Runtime has no bfloat16 on x86."""
ON_REQUEST: Final[frozenset[Precision]] = frozenset({"int8"})
"""What is never chosen by itself: faster than others, and further from the original's answers than they are."""
NATIVE: Final = Path(__file__).parents[1] / "native"
"""Where the kernels of the runtime ``native`` are, if the package was built with them."""

_AVX2: Final = ("avx2", frozenset({"avx2", "fma"}))
_AVX512: Final = ("avx512", frozenset({"avx512f", "avx512_bf16", "avx512_vnni"}))
# The library of the kernels that compute in a precision, and what a processor must have, all of it, to run them.
_KERNELS: Final[Mapping[Precision, tuple[str, frozenset[str]]]] = {
    "fp32": _AVX2,
    "int16": _AVX2,
    "bf16": _AVX512,
    "int8": _AVX512,
}
# Without one of these, bfloat16 is emulated, and slower than fp32.
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})

# Tokens/s of the benchmark's mix, all-MiniLM-L6-v2, bf16, on 2 cores of an EPYC: 14,360 at 256, 15,210 at 512, and
# 14,840 at 1,024 (medians of 7 rounds).
_NATIVE_BUDGET: Final = 512


class Plan(BaseModel):
    """How one model is run.

    Attributes:
        precision: What the runtime computes in; answers are float32 always.
        threads: Threads of one inference; with ``native`` the most of all inferences together.
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
    """Return the runtimes that can be loaded here."""
    return tuple(name for name in get_args(Runtime) if _is_installed(name))


def native_library(precision: Precision) -> Path:
    """Return the library of the kernels that compute in a precision."""
    return NATIVE / f"libheadrace-{_KERNELS[precision][0]}.so"


def runtime_version(runtime: Runtime) -> str:
    """Return the version of an installed runtime; that of our own kernels is their digest."""
    if runtime == "native":
        return hashlib.sha256(b"".join(path.read_bytes() for path in _native_libraries())).hexdigest()[:12]
    return importlib.metadata.version(runtime)


def _is_installed(runtime: Runtime) -> bool:
    if runtime == "native":
        return all(path.is_file() for path in _native_libraries())
    return importlib.util.find_spec(runtime) is not None


def _native_libraries() -> list[Path]:
    return sorted({native_library(precision) for precision in PRECISIONS["native"]})


def precisions(runtime: Runtime, machine: Machine) -> tuple[Precision, ...]:
    """Return what a runtime can compute in at full speed on this machine."""
    flags = set(machine.cpu_flags)
    if runtime == "native":
        return tuple(precision for precision in PRECISIONS[runtime] if flags >= _KERNELS[precision][1])
    return tuple(precision for precision in PRECISIONS[runtime] if precision != "bf16" or _BF16_FLAGS & flags)


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
    precision = _precision(settings, runtime, machine, tuned)
    is_same = tuned is not None and (tuned.runtime, tuned.precision) == (runtime, precision)
    base = tuned if is_same else None  # sizes that suit one runtime say nothing about another
    given = settings.model_fields_set
    own_sessions, own_budget = _own_sizes(settings, runtime, machine)
    sessions = own_sessions if base is None or "sessions" in given else base.sessions
    threads = settings.threads or (base.threads if base and sessions == base.sessions else None)
    return Plan(
        runtime=runtime,
        precision=precision,
        threads=threads or (machine.threads if runtime == "native" else max(1, machine.threads // sessions)),
        sessions=sessions,
        token_budget=own_budget if base is None or "token_budget" in given else base.token_budget,
    )


def _own_sizes(settings: EngineSettings, runtime: Runtime, machine: Machine) -> tuple[int, int]:
    """Return how many sessions and tokens in a batch a runtime has where nothing was measured.

    The sessions of ``native`` share threads, so that there can be one for each: alone, a session computes on all of
    them. And as it computes no padding, it gains little from more tokens, for which others would only wait longer.
    """
    if runtime != "native":
        return settings.sessions, settings.token_budget
    given = settings.model_fields_set
    sessions = settings.sessions if "sessions" in given else machine.threads
    return sessions, settings.token_budget if "token_budget" in given else _NATIVE_BUDGET


def settle(settings: EngineSettings, plan: Plan) -> EngineSettings:
    """Return the options with nothing left open."""
    return settings.model_copy(update=plan.model_dump())


def _runtime(settings: EngineSettings, tuned: Plan | None) -> Runtime:
    installed = installed_runtimes()
    wanted = _find_runtime(settings, tuned, installed) if settings.runtime == "auto" else settings.runtime
    if wanted not in installed:
        how = "install a wheel for Linux on x86-64" if wanted == "native" else f"run: pip install 'headrace[{wanted}]'"
        raise DependencyMissing(f"the runtime {wanted!r} is not installed; {how}, or use another --runtime")
    return wanted


def _find_runtime(settings: EngineSettings, tuned: Plan | None, installed: Sequence[Runtime]) -> Runtime:
    """Return the runtime that was measured to be best, or the first, among those that have the precision."""
    suited: list[Runtime] = [name for name in get_args(Runtime) if settings.precision in {"auto", *PRECISIONS[name]}]
    usable = [name for name in suited if name in installed]
    if tuned is not None and tuned.runtime in usable:
        return tuned.runtime
    return usable[0] if usable else suited[0]


def _precision(settings: EngineSettings, runtime: Runtime, machine: Machine, tuned: Plan | None) -> Precision:
    if settings.precision != "auto":
        wanted = settings.precision
    else:
        wanted = tuned.precision if tuned is not None and tuned.runtime == runtime else PRECISIONS[runtime][0]
    if wanted not in PRECISIONS[runtime]:
        raise SettingInvalid(
            f"{runtime} does not compute in {wanted!r}; leave engine.runtime or engine.precision to auto",
            field="engine.precision",
        )
    if runtime == "native" and wanted not in precisions(runtime, machine):
        raise SettingInvalid(
            f"the native runtime needs a processor with {', '.join(sorted(_KERNELS[wanted][1]))} to compute in"
            f" {wanted!r}; leave engine.runtime or engine.precision to auto",
            field="engine.runtime",
        )
    return wanted
