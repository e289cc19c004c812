import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.services import PLAN
from tests.unit.cli.conftest import MakeModel, Run

from headrace.cli.plot import Point, draw_scatter
from headrace.engine.plans import Trial, Tuned
from headrace.settings import LoadedSettings

BEST = PLAN.model_copy(update={"runtime": "openvino", "precision": "bf16", "threads": 2})
TUNED = Tuned(
    plan=BEST,
    trials=(
        Trial(
            plan=PLAN,
            tokens_per_s=6000.0,
            least_tokens_per_s=5900.0,
            most_tokens_per_s=6100.0,
            latency_s=0.002,
            min_cosine=1.0,
            verdict="beaten",
        ),
        Trial(
            plan=BEST,
            tokens_per_s=12000.0,
            least_tokens_per_s=11000.0,
            most_tokens_per_s=13000.0,
            latency_s=0.001,
            min_cosine=0.99988,
            mean_cosine=0.99995,
            verdict="chosen",
        ),
        Trial(plan=PLAN.model_copy(update={"token_budget": 512}), verdict="not tried: no time left"),
    ),
    noise=0.04,
    is_whole=False,
    took_s=3.0,
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


class FakeTuner:
    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def tune(
        self,
        loaded: LoadedSettings,
        name: str,
        step: Callable[[str], AbstractContextManager[None]],
        **options: float,
    ) -> tuple[Tuned, Path]:
        self.asked = {"name": name, "settings": loaded.settings.engine, **options}
        with step("Trying something"):
            return TUNED, Path("/somewhere/plan.json")


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> FakeTuner:
    fake = FakeTuner()
    monkeypatch.setattr("headrace.app.tune_model", fake.tune)
    return fake


def test_what_was_measured_is_a_table_and_the_choice_a_line(run: Run, tuner: FakeTuner, make_model: MakeModel):
    make_model("minilm")
    result = run("tune", "minilm", "--limit-s", "9", "--rounds", "3", "--runtime", "openvino")
    assert result.exit_code == 0
    assert (tuner.asked["name"], tuner.asked["limit_s"], tuner.asked["rounds"]) == ("minilm", 9.0, 3)
    assert tuner.asked["settings"].runtime == "openvino"
    lines = result.stdout.splitlines()
    assert lines[0].split()[:6] == ["RUNTIME", "PRECISION", "SESSIONS", "THREADS", "BUDGET", "TOKENS/S"]
    assert re.search(r" 6,000 \(5,900-6,100\) +#{12} +2\.00 ms +1\.00000 +beaten$", lines[1])
    assert re.search(r" 12,000 \(11,000-13,000\) +#{24} +1\.00 ms +0\.99988  0\.99995  chosen$", lines[2])
    assert re.fullmatch(r"onnxruntime +fp32 +1 +1 +512 +not tried: no time left", lines[3])
    assert "chosen: openvino bf16, 1 x 2 threads, batches of 1024 tokens" in lines
    assert "kept in /somewhere/plan.json" in lines
    assert "two runs of one plan differ by up to 4% here; a plan must win by more to be chosen" in lines
    assert lines[-1] == "not everything was tried; give it more time with --limit-s"
    assert "Trying something" in result.stderr


def test_a_program_gets_all_figures(run: Run, tuner: FakeTuner, make_model: MakeModel):
    make_model("minilm")
    result = run("tune", "minilm", "--json")
    content = json.loads(result.stdout)
    assert content.pop("path") == "/somewhere/plan.json"
    assert Tuned.model_validate(content) == TUNED
    assert result.stderr == ""


def test_the_plot_shows_every_plan_that_was_measured(run: Run, tuner: FakeTuner, make_model: MakeModel, tmp_path: Path):
    make_model("minilm")
    assert run("tune", "minilm", "--plot", str(tmp_path / "plot.svg")).exit_code == 0
    drawn = (tmp_path / "plot.svg").read_text()
    assert drawn.count("<circle") == 2
    assert "openvino bf16, 1 x 2, 1024, cosine 0.9999" in drawn


def test_a_plot_that_cannot_be_written_is_an_error_with_its_path(
    run: Run, tuner: FakeTuner, make_model: MakeModel, tmp_path: Path
):
    make_model("minilm")
    result = run("tune", "minilm", "--plot", str(tmp_path / "missing" / "plot.svg"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("headrace: store.unusable: ")


def test_a_model_that_is_not_there_is_an_error_at_once(run: Run, tuner: FakeTuner):
    result = run("tune", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("headrace: model.unknown: ")
    assert tuner.asked == {}


@pytest.mark.parametrize("most", [0.3, 1.0, 9.9, 10.0, 26_000.0, 123_456.0])
def test_every_point_is_inside_the_plot(most: float):
    points = [Point(x=most, y=most, label="<far>", is_chosen=True), Point(x=0, y=0, label="near", is_chosen=False)]
    drawn = draw_scatter("a & b", points)
    assert "a &amp; b" in drawn
    assert "&lt;far&gt;" in drawn
    places = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert len(places) == 2
    assert all(90 <= x <= 860 and 50 <= y <= 460 for x, y in places)
    ticks = re.findall(r'text-anchor="middle">([^<]+)<', drawn)
    assert 4 <= len(ticks) <= 9
