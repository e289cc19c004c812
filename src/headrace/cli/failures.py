"""How a command ends: the exit codes, and the one line that an error becomes."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import typer

from headrace.errors import BindRefused, GateFailed, HeadraceError, NameInvalid, SettingInvalid, SettingUnknown

SUCCESS: Final = 0
ERROR: Final = 1
USAGE: Final = 2
GATE: Final = 3
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES: Final = {
    SUCCESS: "success",
    ERROR: "an error, named on standard error",
    USAGE: "wrong usage or wrong settings",
    GATE: "the accuracy gate failed",
    INTERRUPTED: "interrupted with Ctrl-C",
    BROKEN_PIPE: "the reader of the output went away, as in `| head -1`",
}
"""The whole table. 130 and 141 are what a shell reports for a program ended by SIGINT (2) and SIGPIPE (13)."""

_CODE_OF: Final[dict[type[HeadraceError], int]] = {
    SettingUnknown: USAGE,
    SettingInvalid: USAGE,
    BindRefused: USAGE,
    NameInvalid: USAGE,
    GateFailed: GATE,
}


@dataclass(slots=True)
class Report:
    """How failures of one command are told.

    Attributes:
        as_json: As an object instead of a line.
        debug: With the traceback of an error that nobody foresaw.
    """

    as_json: bool
    debug: bool


@contextmanager
def reported(report: Report) -> Iterator[None]:
    """Turn whatever a command raises into a message on standard error and an exit code.

    Raises:
        typer.Exit: With the exit code.
    """
    try:
        yield
        sys.stdout.flush()  # here, where a reader that went away is still handled
    except HeadraceError as error:
        _show(report, error.code, error.message, retryable=error.retryable, field=error.field)
        raise typer.Exit(exit_code(error)) from error
    except BrokenPipeError as error:
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from error
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise  # how typer itself ends a command
    except Exception as error:
        # Whatever it is, a user is not shown a traceback unless they ask for one.
        if report.debug:
            raise
        what = f"{type(error).__name__}, an error nobody foresaw; --log-level debug shows where it was raised"
        _show(report, HeadraceError.code, what, retryable=False, field=None)
        raise typer.Exit(ERROR) from error


def exit_code(error: HeadraceError) -> int:
    """Return the exit code of an error."""
    return _CODE_OF.get(type(error), ERROR)


def _show(report: Report, code: str, message: str, *, retryable: bool, field: str | None) -> None:
    if report.as_json:
        body = {"code": code, "message": message, "retryable": retryable, "field": field}
        line = json.dumps({key: value for key, value in body.items() if value is not None})
    else:
        line = f"headrace: {code}: {one_line(message)}"
    typer.echo(line, err=True)


def one_line(text: str) -> str:
    """Return a text without line breaks or control characters: a file name must not write to the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(text.split()))


def _drop_output() -> None:
    """Send what is still buffered nowhere, else the interpreter complains about the pipe when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
