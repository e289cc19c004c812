"""From files to examples that are fit to learn from."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.models.folder import describe_file
from headrace.training.columns import Columns
from headrace.training.conll import SUFFIXES, read_conll
from headrace.training.examples import Example, Split, Target, hold_out, require_texts, unique, without
from headrace.training.numbers import Numbers
from headrace.training.tables import Table, read_table, reading

MakeExamples = Callable[[Table, Mapping[str, str]], Iterable[Example[Target]]]
"""Given a table and the column of each role, gives the examples that are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFiles:
    """What is learned from.

    Attributes:
        train: To learn from.
        measure: To measure with; nothing if a share of the others is held back for it.
        columns: Of each role, as far as the user named them.
    """

    train: Path
    measure: Path | None
    columns: Mapping[str, str]

    def digests(self) -> dict[str, str | None]:
        """Return the SHA-256 of each file, as a training is known by it.

        Raises:
            DataMissing: A file is not there, or may not be read.
        """
        return {"data": _digest(self.train), "eval": None if self.measure is None else _digest(self.measure)}


def read_split(
    files: DataFiles,
    columns: Columns,
    make: MakeExamples[Target],
    numbers: Numbers,
    group: Callable[[Example[Target]], Hashable] = lambda _: None,
    unit: Callable[[Example[Target]], str] = lambda example: example.key,
) -> Split[Target]:
    """Read the examples, leave out what would be seen twice, and hold some back.

    Args:
        files: Where they are.
        columns: What is looked for.
        make: Makes examples of the rows.
        numbers: What share is held back, and by which seed.
        group: As of ``hold_out``.
        unit: As of ``hold_out``.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A file is none that is read here, lacks a column, or has a broken row.
        DataUnfit: There are too few examples.
    """
    examples, found = read_examples(files.train, columns.find, make)
    if files.measure is None:
        return hold_out(examples, numbers.holdout, numbers.seed, group, unit).noting(*found)
    held_out, found_there = read_examples(files.measure, columns.find, make)
    left = without(examples, held_out)
    if len(left) < len(examples):
        found_there.append(
            f"{len(examples) - len(left):,} texts to learn from are to measure with, too: learned from they would"
            " measure nothing, so they are left out"
        )
    return Split(tuple(left), tuple(held_out)).noting(*found, *found_there)


def read_examples(
    path: Path, find: Callable[[Table], dict[str, str]], make: MakeExamples[Target]
) -> tuple[list[Example[Target]], list[str]]:
    """Read a file, and return each of its examples once, and what was noticed on the way.

    Args:
        path: CSV, TSV, JSON Lines, Parquet or CoNLL.
        find: Returns the column of each role.
        make: Makes examples of the rows.

    Raises:
        DataMissing: There is no such file.
        DataInvalid: It is none that is read here, lacks a column, or has a broken row.
    """
    table = read_conll(path) if path.suffix.lower() in SUFFIXES else read_table(path)
    named = find(table)
    examples = list(make(table, named))
    require_texts(examples, path)
    kept, found = unique(examples, path)
    told = ", ".join(f"{role} is {name!r}" for role, name in named.items())
    return kept, [f"{path.name}: {len(table.rows):,} rows; {told}", *found]


def _digest(path: Path) -> str:
    with reading(path):
        return describe_file(path).sha256
