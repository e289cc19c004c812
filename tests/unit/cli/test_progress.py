import io
import sys

import pytest

from headrace.cli.progress import LiveSteps, PlainSteps, SilentSteps, file_bar, steps
from headrace.errors import GateFailed


def test_plain_steps_write_one_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PlainSteps()
    with shown.step("Downloading\nit"):
        shown.transferred(1, 2)
    with shown.step("Exporting"):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" s] Downloading it")
    assert second.endswith(" s] Exporting")


def test_silent_steps_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = SilentSteps()
    with shown.step("Downloading"):
        shown.transferred(1, 2)
    assert capsys.readouterr().err == ""


def test_live_steps_leave_a_line_for_each_step_that_ended(capsys: pytest.CaptureFixture[str]) -> None:
    shown = LiveSteps()
    shown.transferred(1, 2)  # before any step: nothing to draw it on
    with shown.step("Downloading [a]"):
        shown.transferred(1 << 20, 2 << 20)
        shown.transferred(3 << 20, None)
    err = capsys.readouterr().err
    assert "done  Downloading [a] (" in err


def test_live_steps_call_no_failed_step_done(capsys: pytest.CaptureFixture[str]) -> None:
    shown = LiveSteps()
    with pytest.raises(GateFailed), shown.step("Comparing"):
        raise GateFailed("it differs")
    assert "done" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("as_json", "terminal", "kind"),
    [(True, True, SilentSteps), (False, True, LiveSteps), (False, False, PlainSteps)],
)
def test_steps_are_shown_as_standard_error_can(
    monkeypatch: pytest.MonkeyPatch, as_json: bool, terminal: bool, kind: type
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert isinstance(steps(as_json=as_json), kind)


def test_a_bar_leaves_the_file_where_it_was() -> None:
    source = io.BytesIO(b"one\ntwo\n")
    source.readline()
    with file_bar(source) as advance:
        advance()
        assert source.read() == b"two\n"
