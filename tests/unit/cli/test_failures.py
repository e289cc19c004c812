import errno
import json

import pytest
import typer

from headrace.cli.failures import EXIT_CODES, Report, exit_code, naming, one_line, reported, warn
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


def test_an_unforeseen_error_has_its_traceback_where_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ending, reported(Report(as_json=False, debug=True)):
        raise ZeroDivisionError
    assert ending.value.exit_code == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "cannot use '/a/b': Permission denied; "),
        (OSError(errno.ENOSPC, "No space left on device"), "refused something: No space left on device; --log-level"),
        (OSError("a text of somebody"), "refused something: OSError; --log-level"),
    ],
)
def test_what_the_system_refuses_is_one_line_with_path_and_cause(
    capsys: pytest.CaptureFixture[str], error: OSError, told: str
) -> None:
    assert ends_with(error) == 1
    err = capsys.readouterr().err
    assert told in err
    assert (err.count("\n"), "a text of somebody" in err) == (1, False)


@pytest.mark.parametrize("path", [None, "/a"])
def test_an_error_gets_a_name_unless_it_has_one(path: str | None) -> None:
    with pytest.raises(BrokenPipeError) as caught, naming("standard output"):
        raise OSError(errno.EPIPE, "Broken pipe", path)
    assert caught.value.filename == (path or "standard output")


def test_a_warning_is_a_line_or_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    warn(GateFailed("a\nb"), as_json=False)
    warn(GateFailed("a\nb"), as_json=True)
    line, body = capsys.readouterr().err.splitlines()
    assert line == "headrace: warning: gate.failed: a b"
    assert json.loads(body) == {"level": "warning", "code": "gate.failed", "message": "a\nb"}


def test_an_error_that_nobody_can_be_told_still_has_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(typer, "echo", refuse)
    assert ends_with(GateFailed("m")) == 3


@pytest.mark.parametrize("ending", [typer.Exit(5), typer.Abort(), typer.BadParameter("no"), KeyboardInterrupt()])
def test_typer_and_ctrl_c_end_a_command_as_they_do(ending: BaseException) -> None:
    with pytest.raises(type(ending)), reported(Report(as_json=False, debug=False)):
        raise ending


def test_a_reader_that_went_away_is_141_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(BrokenPipeError()) == 141
    assert capsys.readouterr().err == ""


def test_one_line_keeps_what_prints() -> None:
    assert one_line("a  b\tc — ü") == "a b c — ü"


def test_the_base_error_has_an_exit_code() -> None:
    assert exit_code(HeadraceError("m")) == 1
