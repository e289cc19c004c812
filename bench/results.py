"""The results of a run: a JSON file that is written after every measurement, so an interruption loses none."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

_FORMAT: Final = 1


class ResultsMismatch(Exception):
    """A file of results cannot be continued; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one candidate did in one round of one part.

    Attributes:
        values: Figures by name; a name ends in its unit.
    """

    part: str
    candidate: str
    round: int
    values: Mapping[str, float]


@dataclass(slots=True)
class Results:
    """All measurements of a run.

    Attributes:
        about: Machine, versions, texts, options: what has to be equal for a run to be continued is ``identity``.
        left_out: Why a candidate has no figures, by its name.
    """

    path: Path
    identity: dict[str, Any]
    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement, on disk too."""
        self.measurements.append(measurement)
        self.save()

    def leave_out(self, candidate: str, reason: str) -> None:
        """Say why a candidate has no figures."""
        self.left_out[candidate] = reason
        self.save()

    def has(self, part: str, candidate: str, round_number: int) -> bool:
        """Whether a measurement is there already."""
        return any(
            (each.part, each.candidate, each.round) == (part, candidate, round_number) for each in self.measurements
        )

    def candidates(self, part: str) -> list[str]:
        """Return the candidates of a part, in the order they were first measured."""
        return list(dict.fromkeys(each.candidate for each in self.measurements if each.part == part))

    def series(self, part: str, candidate: str, name: str) -> dict[int, float]:
        """Return one figure of a candidate by round."""
        return {
            each.round: each.values[name]
            for each in self.measurements
            if each.part == part and each.candidate == candidate and name in each.values
        }

    def save(self) -> None:
        """Write the file in one step: a reader sees the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        content = {
            "format": _FORMAT,
            "identity": self.identity,
            "about": self.about,
            "left_out": self.left_out,
            "measurements": [asdict(each) for each in self.measurements],
        }
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path)


def read_results(path: Path) -> Results:
    """Read a file of results.

    Raises:
        ResultsMismatch: It is none, or of another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsMismatch(f"{path} is no file of results: {error}") from error
    if content.get("format") != _FORMAT:
        raise ResultsMismatch(f"{path} has format {content.get('format')!r}, not {_FORMAT}; run the benchmark anew")
    measured = [Measurement(**each) for each in content["measurements"]]
    return Results(path, content["identity"], content["about"], measured, content["left_out"])


def require_same(kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to put figures of two different set-ups into one table.

    Raises:
        ResultsMismatch: Something that decides the figures has changed.
    """
    changed = sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))
    if changed:
        told = "; ".join(f"{name} was {kept.get(name)!r} and is {now.get(name)!r}" for name in changed)
        raise ResultsMismatch(f"the run cannot be continued: {told}; start a new one")


def file_name(date: str, cpu: str) -> str:
    """Return the name of a file of results."""
    return f"{date}-{re.sub(r'[^a-z0-9]+', '-', cpu.lower()).strip('-')}.json"


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[Sequence[float], Sequence[float]]:
    """Return two series as far as their rounds correspond."""
    rounds = sorted(first.keys() & second.keys())
    return [first[each] for each in rounds], [second[each] for each in rounds]
