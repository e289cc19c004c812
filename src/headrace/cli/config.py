"""``headrace config``: every option, its value, and where the value came from."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import echo, print_json, print_table
from headrace.settings import LoadedSettings, options

_MASK: Final = "********"


@dataclass(frozen=True, slots=True)
class _Row:
    option: str
    value: str | int | float | None
    origin: str
    variable: str


@with_settings("server", "engine", "store", "cache", "limits", "auth", "records", "redis", "events", "traces")
def config(loaded: LoadedSettings, *, as_json: JsonFlag = False) -> None:
    """Show every option, its value and where the value came from."""
    rows = list(_rows(loaded))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ["option", "value", "from", "environment variable"],
        [[row.option, "" if row.value is None else str(row.value), row.origin, row.variable] for row in rows],
    )
    echo(f"\nfile: {loaded.file or 'none'}")


def _rows(loaded: LoadedSettings) -> Iterator[_Row]:
    for known in options():
        value = getattr(getattr(loaded.settings, known.section), known.name)
        shown = (_MASK if value else None) if known.is_secret else _plain(value)
        yield _Row(known.key, shown, loaded.origins.get(known.key, "default"), known.variable)


def _plain(value: Any) -> str | int | float | None:
    if isinstance(value, tuple):
        return "; ".join(map(str, value)) or None  # as it is written
    return value if value is None or isinstance(value, str | int | float) else str(value)
