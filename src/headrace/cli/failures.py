"""How a command ends: the exit codes, and the one line that an error becomes."""

import contextlib
import json
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, NoReturn

import typer

from headrace.errors import (
    BindRefused,
    GateFailed,
    HeadraceError,
    NameInvalid,
    SettingInvalid,
    SettingUnknown,
    TrainingStopped,
)

SUCCESS: Final = 0
ERROR: Final = 1
USAGE: Final = 2
GATE: Final = 3
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143

OUTPUT: Final = "standard output"

EXIT_CODES: Final = {
    SUCCESS: "success",
    ERROR: "an error, named on standard error",
    USAGE: "wrong usage or wrong settings",
    GATE: "the accuracy gate failed",
    INTERRUPTED: "interrupted with Ctrl-C, or a training was stopped and kept",
    BROKEN_PIPE: "the reader of the output went away, as in `| head -1`",
    TERMINATED: "ended by SIGTERM",
}
"""The whole table. 130, 141 and 143 are what a shell reports for SIGINT (2), SIGPIPE (13) and SIGTERM (15)."""

_CODE_OF: Final[dict[type[HeadraceError], int]] = {
    SettingUnknown: USAGE,
    SettingInvalid: USAGE,
    BindRefused: USAGE,
    NameInvalid: USAGE,
    GateFailed: GATE,
    TrainingStopped: INTERRUPTED,
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


@contextlib.contextmanager
def reported(report: Report) -> Iterator[None]:
    """Turn whatever a command raises into a message on standard error and an exit code.

    Raises:
        typer.Exit: With the exit code.
    """
    try:
        yield
        with naming(OUTPUT):
            sys.stdout.flush()  # here, where a reader that went away is still handled
    except HeadraceError as error:
        _show(report, error.code, error.message, retryable=error.retryable, field=error.field)
        raise typer.Exit(exit_code(error)) from error
    except BrokenPipeError as error:
        raise typer.Exit(BROKEN_PIPE) from error
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise  # how typer itself ends a command
    except Exception as error:
        # Whatever it is, a user is not shown a traceback unless they ask for one.
        if report.debug:
            traceback.print_exc()
        _show(report, HeadraceError.code, explain(error), retryable=False, field=None)
        raise typer.Exit(ERROR) from error


def warn(error: HeadraceError, *, as_json: bool) -> None:
    """Tell of an error that does not end the command."""
    body = {"level": "warning", "code": error.code, "message": error.message}
    _say(json.dumps(body) if as_json else f"headrace: warning: {error.code}: {one_line(error.message)}")


def end_on_sigterm() -> None:
    """End as Ctrl-C does, which cleans up; the second time at once.

    By default the signal ends a process where it is, and leaves drafts and downloads behind.
    """
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(TERMINATED)


def exit_code(error: HeadraceError) -> int:
    """Return the exit code of an error."""
    return _CODE_OF.get(type(error), ERROR)


def explain(error: Exception) -> str:
    """Return what can be said of an error that none of our classes stands for; its own text is not quoted."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}, an error nobody foresaw; --log-level debug shows where it was raised"
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"the system refused something: {reason}; --log-level debug shows where"
    return f"cannot use {str(error.filename)!r}: {reason}; mend that, or choose another place"


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Name what is read or written: the system does so only where a file is opened, not in the errors after that.

    Raises:
        OSError: As it was, with the name.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or name
        raise


def _show(report: Report, code: str, message: str, *, retryable: bool, field: str | None) -> None:
    if report.as_json:
        body = {"code": code, "message": message, "retryable": retryable, "field": field}
        line = json.dumps({key: value for key, value in body.items() if value is not None})
    else:
        line = f"headrace: {code}: {one_line(message)}"
    _say(line)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to be told that standard error does not work
        typer.echo(line, err=True)


def one_line(text: str) -> str:
    """Return a text without line breaks or control characters: a file name must not write to the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(text.split()))
