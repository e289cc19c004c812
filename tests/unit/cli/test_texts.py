import io
import os
import sys

import pytest

from headrace.cli import texts


@pytest.mark.parametrize(("err", "out", "is_shown"), [(True, False, True), (True, True, False), (False, False, False)])
def test_a_bar_is_drawn_on_a_terminal_only_if_the_results_go_elsewhere(
    monkeypatch: pytest.MonkeyPatch, err: bool, out: bool, is_shown: bool
) -> None:
    source = io.BytesIO(b"text")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: err)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out)
    with texts._progress(source) as advance:
        advance()
    assert (advance.__module__ == "headrace.cli.progress") is is_shown


def test_no_bar_is_drawn_for_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as source, texts._progress(source) as advance:
        assert advance.__module__ == "headrace.cli.texts"
