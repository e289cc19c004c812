import os
import sys

import pytest
import typer

from headrace.cli.failures import EXIT_CODES, Report, exit_code, one_line, reported
from headrace.errors import GateFailed, HeadraceError, PortTaken, SettingInvalid, error_classes


def ends_with(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as ending, reported(Report(as_json=as_json, debug=False)):
        raise error
    return ending.value.exit_code


def test_every_error_has_an_exit_code_of_the_table() -> None:
    assert {exit_code(each("m")) for each in error_classes()} <= set(EXIT_CODES)
    assert exit_code(GateFailed("m")) == 3
    assert exit_code(SettingInvalid("m")) == 2
    assert exit_code(PortTaken("m")) == 1


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(GateFailed("first\nsecond \x1b[31mred")) == 3
    assert capsys.readouterr().err == "headrace: gate.failed: first second \\x1b[31mred\n"


def test_an_unforeseen_error_shows_its_type_and_where_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(ZeroDivisionError("a text of somebody")) == 1
    err = capsys.readouterr().err
    assert err.startswith("headrace: headrace.error: ZeroDivisionError")
    assert "--log-level debug" in err
    assert "a text of somebody" not in err


def test_an_unforeseen_error_is_raised_where_a_traceback_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError), reported(Report(as_json=False, debug=True)):
        raise ZeroDivisionError


@pytest.mark.parametrize("ending", [typer.Exit(5), typer.Abort(), typer.BadParameter("no"), KeyboardInterrupt()])
def test_typer_and_ctrl_c_end_a_command_as_they_do(ending: BaseException) -> None:
    with pytest.raises(type(ending)), reported(Report(as_json=False, debug=False)):
        raise ending


def test_a_reader_that_went_away_is_141_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    out = sys.stdout.fileno()
    saved = os.dup(out)
    try:
        assert ends_with(BrokenPipeError()) == 141
    finally:
        os.dup2(saved, out)
        os.close(saved)
    assert capfd.readouterr().err == ""


def test_one_line_keeps_what_prints() -> None:
    assert one_line("a  b\tc — ü") == "a b c — ü"


def test_the_base_error_has_an_exit_code() -> None:
    assert exit_code(HeadraceError("m")) == 1
