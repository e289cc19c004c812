import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from tests.docs.snippets import Shell, Snippet, matches, read_snippets

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHOWN_ADDRESS = "127.0.0.1:8000"
PAGES = ("getting-started", "events", "clients", "training")
LAST = "access"

PAGE = """Text.

```console
$ echo one
one
$ true
```

```text
$ not a command
```

```console
$ sleep 9 &
a ... b
c
```
"""


def test_commands_are_read_with_what_they_print() -> None:
    assert list(read_snippets(PAGE)) == [
        Snippet("echo one", "one"),
        Snippet("true", ""),
        Snippet("sleep 9 &", "a ... b\nc"),
    ]


@pytest.mark.parametrize(
    ("expected", "printed", "is_match"),
    [
        ("one", "one\n", True),
        ("one", "one two", False),
        ("", "", True),
        ("", "something", False),
        ("a ... z", "a b\nc z\n", True),
        ("a ... z", "b z", False),
        ("1.0 (x)", "1.0 (x)", True),
        ("1.0", "100", False),
    ],
)
def test_dots_match_anything_and_the_rest_itself(expected: str, printed: str, is_match: bool) -> None:
    assert matches(expected, printed) is is_match


def test_a_shell_runs_commands_and_those_that_stay(tmp_path: Path) -> None:
    with Shell(tmp_path, {"PATH": os.environ["PATH"], "NAME": "value"}) as shell:
        assert shell.run(Snippet("echo $NAME; echo err >&2", "")) == "value\nerr\n"
        assert shell.run(Snippet("sh -c 'echo up; exec sleep 60' &", "up")) == "up\n"
        assert shell.run(Snippet("sh -c 'echo wrong' &", "up")) == "wrong\n"


def test_every_shell_block_of_every_page_is_run_somewhere() -> None:
    with_commands = {path.relative_to(ROOT) for path in [*DOCS.rglob("*.md"), ROOT / "README.md"] if _is_shell(path)}
    run_here = {Path(f"docs/{page}.md") for page in (*PAGES, LAST)} | {Path("README.md")}
    assert with_commands == run_here | {Path("docs/remote.md")}


def _is_shell(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return "```console" in text or "```sh" in text or "```bash" in text


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_commands_of_the_guide_and_the_readme_print_what_they_say(tmp_path: Path) -> None:
    """One run for all: the calls of the other pages go to the server that the guide starts."""
    shutil.copytree(DOCS / "examples", tmp_path / "docs/examples")
    port = _free_port()
    # The first key is made at the end: from then on the server of the others asks for one.
    paths = [*(DOCS / f"{page}.md" for page in PAGES), ROOT / "README.md", DOCS / f"{LAST}.md"]
    pages = [path.read_text(encoding="utf-8") for path in paths]
    with Shell(tmp_path, _environment(tmp_path, port)) as shell:
        for snippet in read_snippets("\n".join(pages).replace(SHOWN_ADDRESS, f"127.0.0.1:{port}")):
            printed = shell.run(snippet)
            assert matches(snippet.expected, printed), f"{snippet.command}\n{printed}"


def _environment(folder: Path, port: int) -> dict[str, str]:
    """A home of its own, the port, and the commands of this installation first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**kept, "PATH": path, "XDG_DATA_HOME": str(folder / "data"), "HEADRACE_SERVER__PORT": str(port)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
