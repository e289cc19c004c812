"""What is learned from: examples, each with the line it comes from, and what is wrong with them.

Everything here happens before the first step of a training, so that no hour is lost to a row that could be seen.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import MAX_LABEL
from headrace.types import Text, parts_of

Target = TypeVar("Target", bound=Hashable)

_SHOWN: Final = 5  # lines that a message names
_NAMED: Final = 12  # labels that it counts


@dataclass(frozen=True, slots=True)
class Example(Generic[Target]):
    """A text, and what a model shall say of it.

    Attributes:
        line: In its file, from 1.
    """

    text: Text
    target: Target
    line: int

    @property
    def key(self) -> str:
        """What two texts share if they differ in spaces and capitals only: to a model they are one."""
        return "\0".join(" ".join(part.split()).casefold() for part in parts_of(self.text))


@dataclass(frozen=True, slots=True)
class Split(Generic[Target]):
    """Examples to learn from, and others to measure what was learned.

    Attributes:
        findings: What was noticed on the way, in sentences for the user.
    """

    train: tuple[Example[Target], ...]
    held_out: tuple[Example[Target], ...]
    findings: tuple[str, ...] = ()

    def noting(self, *findings: str) -> "Split[Target]":
        """Return the same with more findings."""
        return replace(self, findings=self.findings + findings)


def require_texts(examples: Sequence[Example[Any]], path: Path) -> None:
    """Refuse texts without content.

    Raises:
        DataInvalid: There are some; the message names their lines.
    """
    empty = [example.line for example in examples if not all(part.strip() for part in parts_of(example.text))]
    if empty:
        raise DataInvalid(
            f"{path.name}: {lines(empty)} no text; fill in or remove {'it' if len(empty) == 1 else 'them'}"
        )


def require_short(labels: Iterable[str]) -> None:
    """Refuse, before anything is trained, labels with which no model could be imported afterwards.

    Raises:
        DataUnfit: One is too long.
    """
    if long := [label for label in labels if len(label) > MAX_LABEL]:
        raise DataUnfit(
            f"the label {long[0][:40]!r}... has {len(long[0]):,} characters, and may have {MAX_LABEL}; is it the text?"
            " name the right column with --column"
        )


def unique(examples: Sequence[Example[Target]], path: Path) -> tuple[list[Example[Target]], list[str]]:
    """Return each text once, and what is told of that.

    Of a text that is repeated with the same target the first is kept. One with several targets teaches nothing, and
    is left out with all its rows.
    """
    targets: dict[str, set[Target]] = defaultdict(set)
    for example in examples:
        targets[example.key].add(example.target)
    kept: dict[str, Example[Target]] = {}
    for example in examples:
        if len(targets[example.key]) == 1:
            kept.setdefault(example.key, example)
    torn = [example.line for example in examples if len(targets[example.key]) > 1]
    repeated = len(examples) - len(torn) - len(kept)
    found = []
    if repeated:
        found.append(f"{path.name}: {repeated:,} rows repeat a text with the same target; each text is used once")
    if torn:
        found.append(f"{path.name}: {lines(torn)} a text that other rows have with another target; left out")
    return list(kept.values()), found


def without(examples: Sequence[Example[Target]], held_out: Iterable[Example[Target]]) -> list[Example[Target]]:
    """Return the examples whose texts are not held out: what was learned by heart measures nothing."""
    kept_back = {example.key for example in held_out}
    return [example for example in examples if example.key not in kept_back]


def hold_out(
    examples: Sequence[Example[Target]],
    share: float,
    seed: int,
    group: Callable[[Example[Target]], Hashable] = lambda _: None,
    unit: Callable[[Example[Target]], str] = lambda example: example.key,
) -> Split[Target]:
    """Keep a share of the examples back, about the same share of each group.

    Which ones, their texts and the seed decide: neither the order of the rows nor rows that are added elsewhere.

    Args:
        examples: All there are.
        share: Of them, to be kept back.
        seed: Decides which.
        group: What the same share is kept back of, such as a label.
        unit: What is kept back as a whole, such as all that is asked of one query.

    Raises:
        DataUnfit: There are too few to keep any back.
    """
    groups: dict[Hashable, set[str]] = defaultdict(set)
    for example in examples:
        groups[group(example)].add(unit(example))
    units = set().union(*groups.values())
    back = {drawn for members in groups.values() for drawn in _draw(members, share, seed)}
    back = back or set(_draw(units, share, seed))  # each group by itself is too small
    if not back or back == units:
        raise DataUnfit(
            f"{len(examples)} examples are too few to hold some back and learn from the rest; give more, or a file of"
            " others with --eval"
        )
    return Split(
        tuple(example for example in examples if unit(example) not in back),
        tuple(example for example in examples if unit(example) in back),
    )


def _draw(units: Collection[str], share: float, seed: int) -> Sequence[str]:
    def place(unit: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{unit}".encode(errors="surrogatepass")).digest()

    return sorted(units, key=place)[: round(len(units) * share)]


def sides(pairs: Sequence[Example[Any]]) -> tuple[list[str], list[str]]:
    """Return the first texts of pairs, and the second."""
    both = [parts_of(pair.text) for pair in pairs]
    return [first for first, _ in both], [second for _, second in both]


def describe_balance(examples: Iterable[Example[Any]], labels_of: Callable[[Any], Iterator[str]]) -> str:
    """Return how often each label occurs, the most frequent first."""
    counts = Counter(label for example in examples for label in labels_of(example.target))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{label} {count:,}" for label, count in ordered[:_NAMED]]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def lines(numbers: Sequence[int]) -> str:
    """Return "line 3 has" or "lines 3, 7, ... (12 of them) have"."""
    if len(numbers) == 1:
        return f"line {numbers[0]} has"
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return f"lines {shown} have" if len(numbers) <= _SHOWN else f"lines {shown}, ... ({len(numbers):,} of them) have"
