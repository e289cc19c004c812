"""What a figure is worth nothing without: the machine, the versions, the state of the checkout."""

import os
import platform
import re
import subprocess
from dataclasses import asdict
from typing import Any, Final

from bench.environments import frozen, installed
from bench.places import ROOT
from bench.progress import say
from headrace.engine.plan import Precision, precisions
from headrace.machine import read_machine

QUIET_LOAD: Final = 0.5  # of a minute's average; above it something else was running too
# What decides the speed; requirements/bench-*.txt have the rest.
_TELLING: Final = (
    "bentoml",
    "fastapi",
    "infinity-emb",
    "litserve",
    "mlserver",
    "numpy",
    "onnxruntime",
    "openvino",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
    "uvicorn",
)


def multiplies_bf16() -> bool:
    """Whether this processor multiplies bfloat16; where it does not, that is computed in many steps, for minutes."""
    return "bf16" in precisions("openvino", read_machine())


def own_precisions() -> tuple[Precision, ...]:
    """Return what our own kernels compute in on this processor."""
    return precisions("native", read_machine())


def machine_facts() -> dict[str, Any]:
    """Describe the machine, and warn if it is busy."""
    load = os.getloadavg()[0]
    if load > QUIET_LOAD:
        say(f"WARNING: the load average is {load:.2f}; figures of a busy machine are not to be trusted")
    machine = read_machine()
    return {
        **asdict(machine),
        "threads": machine.threads,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(load, 2),
    }


def revision() -> str:
    """Return the commit that is measured, marked if the checkout differs from it."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        is_changed = bool(_git("status", "--porcelain", "--", "src", "bench", "requirements"))
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit} with changes" if is_changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def versions() -> dict[str, dict[str, str]]:
    """Return what is installed in each environment, as far as it decides the speed."""
    return {made.name: telling_versions(frozen(made)) for made in installed()}


def telling_versions(packages: str) -> dict[str, str]:
    """Return the versions of the packages that decide the speed, from lines such as ``torch==2.15.0``."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", packages, flags=re.MULTILINE))
    return {name: pinned[name] for name in _TELLING if name in pinned}
