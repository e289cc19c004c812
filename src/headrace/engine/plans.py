"""What was measured on this machine, kept beside the models: ``plans/<model>/<revision>-<machine>.json``.

A plan holds for one revision of a model, one processor, one container limit and one version of the runtimes; where any
of them changes there is another file, or none yet.
"""

import hashlib
import json
import secrets
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from headrace.engine.plan import Plan, installed_runtimes, runtime_version
from headrace.machine import Machine
from headrace.models.disk import writing
from headrace.models.manifest import Manifest

NO_TIME: Final = "not tried: no time left"
"""Verdict on a plan that there was no time for."""

_MAX_BYTES: Final = 1 << 20


class Trial(BaseModel):
    """A plan that was tried.

    Attributes:
        tokens_per_s: Median over the rounds; padding is not counted.
        least_tokens_per_s: Of the slowest round.
        most_tokens_per_s: Of the fastest round.
        latency_s: Median time of one short text while nothing else runs.
        min_cosine: Least cosine with the original model's answers.
        mean_cosine: The same on average.
        verdict: Why it was chosen or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    tokens_per_s: float = 0.0
    least_tokens_per_s: float = 0.0
    most_tokens_per_s: float = 0.0
    latency_s: float = 0.0
    min_cosine: float | None = None
    mean_cosine: float | None = None
    verdict: str


class Tuned(BaseModel):
    """The plan that was chosen, and what was measured.

    Attributes:
        noise: By how much two measurements of the same plan may differ here: half the range of the ratios of all
            rounds, at its largest.
        is_whole: Whether everything was tried that could have been; a short tune tries little.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    trials: tuple[Trial, ...]
    noise: float
    is_whole: bool
    took_s: float
    created_at: datetime

    @property
    def is_cut_short(self) -> bool:
        """Whether there was no time for some plan, as on a machine that is busy: what was chosen may be a poor one."""
        return any(trial.verdict == NO_TIME for trial in self.trials)


def find_tuned(root: Path, manifest: Manifest, machine: Machine) -> Tuned | None:
    """Return what was measured for this model on this machine; a file that cannot be read counts as none."""
    path = _path(root, manifest, machine)
    try:
        with path.open("rb") as file:
            return Tuned.model_validate_json(file.read(_MAX_BYTES))
    except (OSError, ValidationError):
        return None  # a new measurement replaces it


def save_tuned(root: Path, manifest: Manifest, machine: Machine, tuned: Tuned) -> Path:
    """Keep what was measured; returns where.

    Raises:
        StoreUnusable: It cannot be written.
    """
    path = _path(root, manifest, machine)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            draft.write_text(tuned.model_dump_json(indent=1) + "\n", encoding="utf-8")
            draft.replace(path)  # in one step: two that tune at once leave one whole file
        finally:
            draft.unlink(missing_ok=True)
    return path


def signature(machine: Machine) -> str:
    """Return a digest of what decides how fast a plan is: processor, limits, and versions of the runtimes."""
    versions = {name: runtime_version(name) for name in installed_runtimes()}
    facts = json.dumps({**asdict(machine), **versions}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _path(root: Path, manifest: Manifest, machine: Machine) -> Path:
    return root / manifest.name / f"{manifest.revision[:16]}-{signature(machine)[:16]}.json"
