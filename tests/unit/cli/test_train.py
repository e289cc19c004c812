import dataclasses
import importlib
import json
import os
import signal
import sys
import time
import typing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.training.conftest import mill_rows, one_thread, write_base, write_rows

from headrace.cli.train import NumberFlags
from headrace.cli.train_progress import LiveWatcher, PlainWatcher, SilentWatcher, watcher
from headrace.models.store import LocalStore
from headrace.training import needs
from headrace.training.numbers import Recipe
from headrace.training.watching import Advance

RECIPES = typing.get_args(Recipe)
AT = Advance(step=3, steps=2000, epoch=1, epochs=4, loss=0.51234, examples_per_s=1234.5, left_s=3725.4)
NUMBERS = ("--epochs", "6", "--rows", "8", "--learning-rate", "3e-3", "--holdout", "0.2", "--precision", "fp32")


__all__ = ["one_thread"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "Mills and more.jsonl", mill_rows())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    return write_base(folder)


def test_every_number_of_every_recipe_has_a_flag_and_every_flag_is_a_number():
    configs = [importlib.import_module(f"headrace.training.{recipe}").Config for recipe in RECIPES]
    assert {each.name for config in configs for each in dataclasses.fields(config)} == {
        each.name for each in dataclasses.fields(NumberFlags)
    }
    for config in configs:
        hints = typing.get_type_hints(config)
        flags = typing.get_type_hints(NumberFlags)
        assert all(flags[name] in {hint, hint | None} for name, hint in hints.items())


def test_a_model_is_trained_and_stored(run: Run, data: Path, base: Path, home: Path):
    result = run("train", "classify", "--data", str(data), "--base", str(base), *NUMBERS)
    assert result.exit_code == 0, result.stderr
    assert "gate: passed" in result.stdout
    assert "stored mills-and-more " in result.stdout
    assert "on examples held back: accuracy 1.0000, macro_f1 1.0000" in result.stdout
    assert "next: headrace serve mills-and-more" in result.stdout
    assert "Mills and more.jsonl: 60 rows; text is 'text', label is 'label'" in result.stderr
    assert "step 36 of 36, epoch 6 of 6, loss 0." in result.stderr
    assert LocalStore(home / "models").find("mills-and-more").manifest.labels == ("dry", "wet")


def test_json_has_the_manifest_and_what_was_measured(run: Run, data: Path, base: Path):
    result = run("train", "classify", "--data", str(data), "--base", str(base), "--name", "mills", "--json", *NUMBERS)
    told = json.loads(result.stdout)
    assert told["name"] == "mills"
    assert told["training"]["metrics"] == {"accuracy": 1.0, "macro_f1": 1.0}
    assert Path(told["training"]["folder"]).joinpath("model.safetensors").is_file()
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--column", "text"), 2, "write ROLE=NAME with one of text, label"),
        (("--column", "colour=x"), 2, "write ROLE=NAME"),
        (("--column", "text=body"), 1, "headrace: data.invalid: "),
        (("--name", "../up"), 2, "headrace: name.invalid: "),
        (("--epochs", "0"), 2, "epochs"),
        (("--eval", "gone.csv"), 1, "headrace: data.missing: cannot read 'gone.csv'"),
    ],
)
def test_what_is_wrong_is_told(run: Run, data: Path, base: Path, args: tuple[str, ...], code: int, told: str):
    result = run("train", "classify", "--data", str(data), "--base", str(base), *args)
    assert result.exit_code == code
    assert told in result.stderr


def test_a_recipe_that_is_none_is_told(run: Run, data: Path):
    result = run("train", "guess", "--data", str(data), "--base", "x")
    assert result.exit_code == 2
    assert "classify" in result.stderr


def test_what_is_not_installed_is_named(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(needs, "missing", lambda names: ["torch"] if "torch" in names else [])
    result = run("train", "classify", "--data", str(data), "--base", "x")
    assert result.exit_code == 1
    assert "training needs torch; run: pip install 'headrace[train]'" in result.stderr


def test_ctrl_c_keeps_what_was_learned(run: Run, data: Path, base: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(self: PlainWatcher, at: Advance) -> None:
        if at.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    args = ("train", "classify", "--data", str(data), "--base", str(base), *NUMBERS)
    with monkeypatch.context() as patch:
        patch.setattr(PlainWatcher, "advanced", interrupt)
        stopped = run(*args)
    assert stopped.exit_code == 130
    assert "stopping after this step; once more stops at once" in stopped.stderr
    assert (
        "headrace: training.stopped: stopped after step 5 of 36, and kept; the same command with --resume"
        in stopped.stderr
    )
    unsaid = run(*args)
    assert unsaid.exit_code == 1
    assert "training.unfinished" in unsaid.stderr
    resumed = run(*args, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "goes on after step 5 of 36" in resumed.stderr


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_ends_it_at_once(number: signal.Signals, ending: type[BaseException]):
    watching = PlainWatcher(as_json=False)
    before = signal.getsignal(number)
    with watching.stoppable():
        assert not watching.stops()
        os.kill(os.getpid(), number)
        assert watching.stops()
        with pytest.raises(ending):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_lines_come_every_ten_seconds_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watching = PlainWatcher(as_json=False)
    for second, step in ((0.0, 1), (5.0, 2), (10.0, 3), (11.0, 2000)):
        now = 100.0 + second
        watching.advanced(dataclasses.replace(AT, step=step))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "step 3 of 2,000, epoch 1 of 4, loss 0.5123, 1,234 examples/s, 1:02:05 left"
    assert [line.split()[1] for line in lines] == ["1", "3", "2,000"]


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]):
    watching = LiveWatcher(as_json=False)
    with watching.stoppable():
        watching.advanced(AT)
        watching.say("goes on")
        assert "3 of 2,000" in str(watching._bar.tasks[0].description)
    assert "goes on" in capsys.readouterr().err


def test_nothing_is_shown_beside_json(capsys: pytest.CaptureFixture[str]):
    watching = watcher(as_json=True)
    assert isinstance(watching, SilentWatcher)
    with watching.stoppable(), watching.step("x"):
        watching.transferred(1, 2)
        watching.advanced(AT)
        watching.say("x")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, LiveWatcher), (False, PlainWatcher)])
def test_what_is_shown_depends_on_where(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, kind: type):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    assert type(watcher(as_json=False)) is kind
