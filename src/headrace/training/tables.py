"""Reads files of rows: CSV, TSV, JSON Lines and Parquet.

Every row knows its line, so that whatever is wrong with it can be told where it stands.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from headrace.errors import DataInvalid, DataMissing, DependencyMissing

_MAX_CELL: Final = 16 << 20  # characters; csv's own limit, 128 KiB, is less than a long e-mail

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        line: Where it begins in the file, from 1; in Parquet, which has no lines, its number.
        values: By column.
    """

    line: int
    values: Values


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file, in its order.

    Attributes:
        columns: Names, in the order in which the file has them.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate what the file system refuses while a file of data is read.

    Raises:
        DataMissing: It refused.
    """
    try:
        yield
    except OSError as error:
        raise DataMissing(f"cannot read {str(path)!r}: {error.strerror or type(error).__name__}") from error


def text_of(table: Table, row: Row, column: str) -> str:
    """Return what a cell says, nothing if it is empty; a number is its digits.

    Raises:
        DataInvalid: It holds a list or an object.
    """
    value = row.values.get(column)
    if isinstance(value, list | tuple | dict):
        raise DataInvalid(f"{table.path.name}, line {row.line}: {column} is no text, but a {type(value).__name__}")
    return "" if value is None else str(value)


def read_table(path: Path) -> Table:
    """Read a file of rows; what it is, its name says.

    Raises:
        DataMissing: There is no such file, or it may not be read.
        DataInvalid: It is no such file, is empty, or has a broken row; the message names the line.
        DependencyMissing: It is Parquet, and pyarrow is not installed.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataInvalid(f"{path.name!r} is no kind of file that is read here; use {', '.join(_READERS)}")
    with reading(path):
        rows = tuple(read(path))
    if not rows:
        raise DataInvalid(f"{path.name!r} has no rows; the first line names the columns, the others are the data")
    return Table(path, tuple(dict.fromkeys(name for row in rows for name in row.values)), rows)


def _read_csv(path: Path) -> Iterator[Row]:
    return _read_separated(path, ",")


def _read_tsv(path: Path) -> Iterator[Row]:
    return _read_separated(path, "\t")


def _read_separated(path: Path, separator: str) -> Iterator[Row]:
    """Yield the rows of a file whose first line names the columns."""
    csv.field_size_limit(_MAX_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_decoded(path, file), delimiter=separator, strict=True)
        rows = _numbered(path, reader)
        header = next(rows, (1, []))[1]
        _check_header(path, header)
        for line, cells in rows:
            if len(cells) != len(header):
                raise DataInvalid(
                    f"{path.name}, line {line}: {len(cells)} cells where the first line names {len(header)} columns;"
                    " a cell that holds a separator, a quote or a line break must be in double quotes"
                )
            yield Row(line, dict(zip(header, cells, strict=True)))


def _numbered(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty with the line in which each begins; one in quotes may go over several."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataInvalid(f"{path.name}, line {line}: no row of a table ({error}); mend its quotes") from error
        if cells is None:
            return
        if cells:
            yield line, cells


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise DataInvalid(f"{path.name!r} is empty; its first line names the columns")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataInvalid(f"{path.name}, line 1: two columns have the name {twice[0]!r}; rename one")


def _decoded(path: Path, file: TextIO) -> Iterator[str]:
    """Yield lines; one that is no UTF-8 is named."""
    line = 0
    while True:
        line += 1
        try:
            text = file.readline()
        except UnicodeDecodeError as error:
            raise DataInvalid(f"{path.name}: not UTF-8 at line {line} or soon after it; save it as UTF-8") from error
        if not text:
            return
        yield text


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(_decoded(path, file), 1):
            if not text.strip():
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataInvalid(f"{path.name}, line {line}: not JSON; each line is an object of its own") from error
            if not isinstance(values, dict):
                raise DataInvalid(f"{path.name}, line {line}: no object; write it as {{'text': ..., 'label': ...}}")
            yield Row(line, values)


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - only this kind of file needs it
    except ImportError as error:
        raise DependencyMissing("reading Parquet needs pyarrow; run: pip install 'headrace[train]'") from error
    with path.open("rb") as file:
        try:
            rows = parquet.read_table(file).to_pylist()
        except ArrowException as error:
            raise DataInvalid(f"{path.name!r} is no Parquet file, or a broken one; write it again") from error
    yield from (Row(number, values) for number, values in enumerate(rows, 1))


_READERS: Final[Mapping[str, Callable[[Path], Iterator[Row]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
