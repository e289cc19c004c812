"""What is promised, what was measured, and whether it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.tables import table


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise after it was put to the test.

    Attributes:
        part: The part of the program that tested it.
        name: What is promised.
        measured: What was seen, in words.
        is_kept: Whether it holds.
        values: The figures behind it; a name ends in its unit.
    """

    part: str
    name: str
    measured: str
    is_kept: bool
    values: Mapping[str, float] = field(default_factory=dict)


def promise_table(promises: Sequence[Promise]) -> list[str]:
    """Return the promises as a Markdown table."""
    rows = [[each.name, each.measured, "yes" if each.is_kept else "**NO**"] for each in promises]
    return table(["Promise", "Measured", "Kept"], rows)
