import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
import typer

from headrace.cli.program import run_program
from headrace.errors import GateFailed


def raising(error: BaseException) -> Callable[[], None]:
    def program() -> None:
        raise error

    return program


def handle_broken_pipe() -> None:
    """End as typer and rich do when they meet a closed pipe."""
    try:
        raising(BrokenPipeError())()
    except BrokenPipeError:
        sys.exit(1)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (lambda: None, 0),
        (raising(SystemExit(0)), 0),
        (raising(SystemExit(2)), 2),
        (raising(SystemExit("a message")), 1),
        (raising(typer.Exit(3)), 3),
        (raising(GateFailed("m")), 3),
        (raising(KeyboardInterrupt()), 130),
        (raising(BrokenPipeError()), 141),
        (raising(OSError(errno.ENOSPC, "No space left on device")), 1),
        (handle_broken_pipe, 141),
    ],
)
def test_every_ending_has_its_exit_code(program: Callable[[], object], code: int) -> None:
    assert run_program(program) == code


def test_what_cannot_be_printed_is_about_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(raising(OSError(errno.ENOSPC, "No space left on device")))
    assert "cannot use 'standard output': No space left on device" in capsys.readouterr().err


def test_a_closed_standard_error_is_given_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TextIO | None] = []
    monkeypatch.setattr(sys, "stderr", None)
    assert run_program(lambda: seen.append(sys.stderr)) == 0
    assert seen[0] is not None
    assert seen[0].name == os.devnull
    seen[0].close()


def test_a_closed_standard_output_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run_program(raising(AssertionError("it ran"))) == 1
    assert "standard output is closed" in capsys.readouterr().err


def test_what_is_still_buffered_for_a_pipe_without_a_reader_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = io.TextIOWrapper(os.fdopen(writing, "wb"))
    stream.write("left")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run_program(raising(SystemExit(0))) == 0
    stream.close()  # flushes, which fails where the pipe is still there


def test_a_device_that_is_full_has_its_rest_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        stream.write("left")
        monkeypatch.setattr(sys, "stdout", stream)
        assert run_program(lambda: None) == 1


@pytest.mark.parametrize(("loaded", "taken_apart"), [("torch", False), ("json", True)])
def test_after_pytorch_the_process_ends_at_once_and_still_says_what_it_had_to(loaded: str, *, taken_apart: bool):
    program = f"""
import atexit, sys
sys.modules.setdefault({loaded!r}, sys)
from headrace.cli.program import end_process

atexit.register(print, "registered")
try:
    print("last words", end=" ")
    end_process(3)
finally:
    print("and more", end=" ")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert done.stdout == f"last words {'and more ' * taken_apart}registered\n"
