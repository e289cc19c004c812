"""``headrace records``: keep a copy of keys, users and who changed what, and bring it back."""

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import print_facts, print_json
from headrace.errors import SettingInvalid
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

records_app = typer.Typer(no_args_is_help=True, help="Copies of keys, users, and who changed what.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A file of SQLite.", show_default=False)]


@records_app.command()
@with_settings("store", "records")
def backup(loaded: LoadedSettings, *, file: FileArgument, as_json: JsonFlag = False) -> None:
    """Copy the records to a new file, while servers use them.

    It is the same file for SQLite and PostgreSQL, so this also moves records from one to the other.
    """
    if file.exists():
        raise SettingInvalid(f"{str(file)!r} is there, and is not written over; name another file", field="file")
    place = _place(loaded)
    if isinstance(place, Path) and not place.exists():
        raise SettingInvalid(f"there are no records in {str(place)!r} yet, so nothing to copy", field="store.home")
    with _made_whole(file) as unfinished:
        keys = _copy(place, unfinished)
    _tell({"backup": str(file), "keys": keys}, as_json=as_json)


@records_app.command()
@with_settings("store", "records")
def restore(loaded: LoadedSettings, *, file: FileArgument, as_json: JsonFlag = False) -> None:
    """Bring a copy back, into records that hold nothing yet."""
    if not file.is_file():
        raise SettingInvalid(f"there is no file {str(file)!r}; name one that a backup made", field="file")
    place = _place(loaded)
    keys = _copy(file, place)
    _tell({"restored": str(file), "keys": keys}, as_json=as_json)


@contextlib.contextmanager
def _made_whole(file: Path) -> "Iterator[Path]":
    """Give a name beside a file, which becomes the file at the end; one that was not finished leaves nothing."""
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        yield unfinished
        unfinished.rename(file)
    finally:
        for ending in ("", "-wal", "-shm"):
            unfinished.with_name(unfinished.name + ending).unlink(missing_ok=True)


def _copy(source: "Path | str", target: "Path | str") -> int:
    from headrace.records.sql import SqlRecords  # noqa: PLC0415 - a second, which --help needs not

    with contextlib.closing(SqlRecords(source)) as given, contextlib.closing(SqlRecords(target)) as made:
        return given.copy_to(made)


def _place(loaded: LoadedSettings) -> "Path | str":
    url = loaded.settings.records.url
    return loaded.settings.store.records if url is None else url.get_secret_value()


def _tell(facts: dict[str, str | int], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_facts({name: str(value) for name, value in facts.items()})
