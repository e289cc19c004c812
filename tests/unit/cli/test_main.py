import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.conftest import MakeModel, Run

import headrace
from headrace.cli import main as main_module
from headrace.cli.failures import EXIT_CODES
from headrace.tasks import TASKS


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "headrace", *args]


def shell(*args: str, redirect: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the redirections of a shell."""
    line = f"{shlex.join(command(*args))} {redirect}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)


def test_version_prints_the_version(run: Run) -> None:
    assert run("--version").stdout == f"headrace {headrace.__version__}\n"


def test_help_has_every_command_and_every_exit_code(run: Run) -> None:
    out = re.sub(r"\s+", " ", run("--help").stdout)
    for name in ("import", "serve", "models", "doctor", "config", *TASKS):
        assert f" {name} " in out
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in out


def test_no_arguments_show_the_help(run: Run) -> None:
    assert "Usage: headrace" in run().output


def test_a_mistyped_command_is_answered_with_the_nearest(run: Run) -> None:
    result = run("sevre")
    assert result.exit_code == 2
    assert "'serve'" in result.stderr


def test_the_module_runs_the_command_line() -> None:
    out = subprocess.run(command("--version"), capture_output=True, text=True, check=True).stdout
    assert out == f"headrace {headrace.__version__}\n"


def test_the_commands_load_neither_runtime_nor_web_framework_nor_torch() -> None:
    code = (
        "import sys, headrace.cli.main\n"
        "print([name for name in ('torch', 'transformers', 'onnxruntime', 'fastapi', 'uvicorn', 'tokenizers')"
        " if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_main_runs_the_app(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["headrace", "--version"])
    monkeypatch.setitem(sys.modules, "torch", sys)  # with which a process of its own would end at once
    with pytest.raises(SystemExit) as ending:
        main_module.main()
    assert ending.value.code == 0
    assert capsys.readouterr().out.startswith("headrace ")


def test_a_reader_that_went_away_ends_a_command_silently() -> None:
    with subprocess.Popen(command("config"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("args", [("--help",), ("models", "--help"), ("--version",)])
def test_a_reader_of_help_that_went_away_is_141_as_everywhere(args: tuple[str, ...]) -> None:
    done = shell(*args, redirect="| true")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("args", [("--help",), ("config",), ("config", "--json")])
def test_a_full_disk_under_standard_output_is_one_line(args: tuple[str, ...]) -> None:
    done = shell(*args, redirect="> /dev/full")
    assert done.returncode == 1
    assert "cannot use 'standard output': No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_works_with_standard_error_closed_or_full() -> None:
    for redirect in ("2>&-", "2> /dev/full"):
        done = shell("config", redirect=redirect)
        assert (done.returncode, "server.port" in done.stdout) == (0, True)
    assert shell("nonsense", redirect="2> /dev/full").returncode == 1


def test_what_is_closed_is_named() -> None:
    done = shell("config", redirect=">&-")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard output is closed" in done.stderr
    assert shell("config", redirect=">&- 2>&-").returncode == 1


def test_standard_input_is_named_where_it_is_closed_and_needed(make_model: MakeModel) -> None:
    make_model()
    done = shell("embed", redirect="<&-")
    assert (done.returncode, "standard input is closed" in done.stderr) == (2, True)
    done = shell("models", "remove", "minilm", redirect="<&-")
    assert (done.returncode, "--yes" in done.stderr) == (2, True)


def test_ctrl_c_while_modules_are_loaded_is_130_and_silent(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import headrace.cli.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_without_a_home_of_the_user_a_command_works_if_it_is_told_where(tmp_path: Path) -> None:
    # No entry in the password file has this number, as in a container that runs under an arbitrary user.
    code = (
        "import os, pwd, sys\n"
        "pwd.getpwuid = lambda number: (_ for _ in ()).throw(KeyError(number))\n"
        "[os.environ.pop(name, None) for name in ('HOME', 'XDG_DATA_HOME', 'HEADRACE_STORE__HOME')]\n"
        "from headrace.cli.main import main\n"
        "main()\n"
    )

    def run_homeless(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)

    assert run_homeless("--help").returncode == 0
    assert run_homeless("models", "--json", "--home", str(tmp_path)).stdout == "[]\n"
    done = run_homeless("models")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--home or set HEADRACE_STORE__HOME" in done.stderr


@pytest.mark.parametrize(("typed", "names"), [("m", {"minilm", "mpnet"}), ("mi", {"minilm"}), ("x", set())])
def test_completion_knows_the_models(
    run: Run, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, typed: str, names: set[str]
) -> None:
    make_model("minilm")
    make_model("mpnet", content="other")
    monkeypatch.setenv("_HEADRACE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"headrace models show {typed}")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert set(run().stdout.split()) == names


@pytest.mark.parametrize("broken", ["manifest", "store"])
def test_completion_of_an_unreadable_store_is_silent(
    run: Run, make_model: MakeModel, home: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "manifest":
        (make_model().path / "manifest.json").write_text("{", encoding="utf-8")
    else:
        home.write_bytes(b"")
    monkeypatch.setenv("_HEADRACE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "headrace serve ")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = run()
    assert (result.stdout.strip(), result.stderr) == ("", "")
