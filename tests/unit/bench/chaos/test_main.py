from pathlib import Path

import pytest
from bench.chaos import __main__ as program
from bench.chaos.engine import Stage
from bench.chaos.promise import Promise
from bench.model import Model
from bench.results import Results, read_results
from bench.texts import Mix


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> program.Setup:
    """A program whose one part is played."""
    model = Model(tmp_path, tmp_path, tmp_path, "revision", window=256, hidden=384, inner=1536, layers=6)
    setup = program.Setup(model, Stage(tmp_path, ["a"], long="b"), Mix((), tmp_path, ""), share=0.1)
    monkeypatch.setattr(program, "prepare", lambda _share: setup)
    monkeypatch.setattr(program, "interrupt_on_terminate", lambda: None)
    monkeypatch.setattr(program, "open_results", lambda *_: Results(tmp_path / "run.json", {}, {}))
    return setup


@pytest.mark.parametrize(("is_kept", "code"), [(True, 0), (False, 1)])
def test_a_broken_promise_is_the_exit_code_and_the_figures_are_kept(
    setup: program.Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_kept: bool, code: int
) -> None:
    played = [Promise("kills", "nobody notices", "1 kill", True, {"kills": 1.0}), Promise("kills", "soon", "", is_kept)]
    monkeypatch.setattr(program, "PARTS", {"kills": lambda _: played})
    monkeypatch.setattr("sys.argv", ["chaos", "--parts", "kills"])
    assert program.main() == code
    assert "| nobody notices | 1 kill | yes |" in capsys.readouterr().out
    kept = read_results(setup.model.home / "run.json")
    assert kept.series("chaos kills", "nobody notices", "kills") == {0: 1.0}
    assert kept.series("chaos kills", "soon", "is_kept") == {0: float(is_kept)}


def test_a_share_shrinks_every_count_but_not_to_nothing(setup: program.Setup) -> None:
    assert setup.scaled(5000) == 500
    assert setup.scaled(3) == 1
    assert setup.scaled(3, least=5) == 5


def test_by_default_every_part_runs_whole() -> None:
    asked = program.parse_arguments([])
    assert (asked.parts, asked.share) == (["poison", "kills", "cancels", "swaps", "shadow", "cost"], 1.0)
