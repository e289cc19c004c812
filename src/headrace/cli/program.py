"""How the process begins and ends, around what typer knows of it."""

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

import typer

from headrace.cli.failures import BROKEN_PIPE, ERROR, INTERRUPTED, OUTPUT, SUCCESS, Report, naming, reported
from headrace.errors import HeadraceError


def run_program(program: Callable[[], object]) -> int:
    """Run the command line to its end and return the exit code."""
    try:
        with reported(Report(as_json=False, debug=False)):
            _check_streams()
            with naming(OUTPUT):  # commands tell of their errors themselves; what is left are help pages
                program()
    except typer.Exit as ending:
        return ending.exit_code
    except SystemExit as ending:
        # Typer and rich end with 1 when the reader of their output went away, while they handle that.
        if isinstance(ending.__context__, BrokenPipeError):
            return BROKEN_PIPE
        return ending.code if isinstance(ending.code, int) else ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _drain_all()
    return SUCCESS


def end_process(code: int) -> NoReturn:
    """End the process, with this exit code.

    Where PyTorch was loaded, the interpreter is not taken apart object by object: 2.9 s of 67 for a training, in which
    nothing is written any more. What asked to be called at the end still is.
    """
    if "torch" in sys.modules:
        atexit._run_exitfuncs()  # noqa: SLF001 - the one way to call them before an end at once
        _drain_all()
        os._exit(code)
    sys.exit(code)


def _check_streams() -> None:
    """Give a closed standard error a place to go, and refuse to work for nobody.

    A closed stream is None here, and its number would be that of the next file that is opened: whatever writes to
    standard error, native code too, would write into that file.

    Raises:
        HeadraceError: Standard output is closed.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process runs
    if sys.stdout is None:
        raise HeadraceError("standard output is closed; send what you do not need to /dev/null, as in > /dev/null")


def _drain_all() -> None:
    for stream in (sys.stdout, sys.stderr):
        _drain(stream)


def _drain(stream: TextIO | None) -> None:
    """Send what cannot be written nowhere, else the interpreter complains when it exits, and does so with 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
