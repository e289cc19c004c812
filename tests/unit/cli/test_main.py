import re
import subprocess
import sys

import pytest
from tests.unit.cli.conftest import MakeModel, Run

import headrace
from headrace.cli import main as main_module
from headrace.cli.failures import EXIT_CODES


def command(*args: str, stdin: int | None = None) -> list[str]:
    return [sys.executable, "-m", "headrace", *args]


def test_version_prints_the_version(run: Run) -> None:
    assert run("--version").stdout == f"headrace {headrace.__version__}\n"


def test_help_has_every_command_and_every_exit_code(run: Run) -> None:
    out = re.sub(r"\s+", " ", run("--help").stdout)
    for name in ("import", "serve", "embed", "models", "doctor", "config"):
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


def test_completion_of_an_unreadable_store_is_silent(
    run: Run, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (make_model().path / "manifest.json").write_text("{", encoding="utf-8")
    monkeypatch.setenv("_HEADRACE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "headrace serve ")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = run()
    assert (result.stdout.strip(), result.stderr) == ("", "")
