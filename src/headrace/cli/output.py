"""What commands print: aligned columns for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

from headrace.cli.failures import OUTPUT, naming, one_line

_KIB: Final = 1024
SHORT_REVISION: Final = 12  # characters of a revision that are shown; as much as Git shows of a large history


def echo(text: str = "") -> None:
    """Print a text and a line break.

    Raises:
        OSError: Standard output cannot be written to; it is named.
    """
    with naming(OUTPUT):
        typer.echo(text)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, one line for each row also where a terminal is narrow, so that ``grep`` finds rows."""
    lines = [[one_line(cell) for cell in row] for row in [[name.upper() for name in header], *rows]]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        echo(f"{name.ljust(width)}  {one_line(value)}".rstrip())


def format_size(size_bytes: int) -> str:
    """Return a size as people read it, such as ``86.7 MiB``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.1f} GiB"
