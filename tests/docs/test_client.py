"""The programs of the page of the client run, against a server."""

import re
from pathlib import Path

import pytest
from tests.support.doors import KEY
from tests.support.listening import serving

PAGE = Path(__file__).resolve().parents[2] / "docs/client.md"


def test_the_programs_of_the_page_print_what_it_says(capsys: pytest.CaptureFixture[str]):
    text = PAGE.read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", text, re.DOTALL)
    assert len(programs) == text.count("```python") >= 4
    with serving() as url:
        for program, printed in programs:
            source = program.replace("http://127.0.0.1:8000", url).replace("hr_your-key", KEY)
            exec(compile(source, PAGE.name, "exec"), {})  # noqa: S102 - the page's own programs
            assert capsys.readouterr().out == printed
