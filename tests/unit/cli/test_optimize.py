import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import MakeModel, Run
from tests.unit.optimize.test_page import comparison, report

from headrace.models.store import StoredModel
from headrace.optimize import pipeline
from headrace.optimize.pipeline import Optimized, OptimizeRequest

SLOW = report("native int16", speedup=2.0, texts_per_s=100.0)
FAST = report("onnxruntime int8-static", speedup=3.0, verdict="passed")
LOST = report("onnxruntime int8-dynamic", passed=False, verdict="refused: it loses too much", score=0.5)
BROKEN = report("openvino fp32", passed=False, texts_per_s=0.0, score=None, verdict="does not run here: no")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[OptimizeRequest]:
    return []


def answer(
    monkeypatch: pytest.MonkeyPatch, requests: list[OptimizeRequest], *variants: Any, stored: StoredModel | None = None
) -> None:
    def optimize_model(request: OptimizeRequest, _store: object, _progress: object) -> Optimized:
        requests.append(request)
        compared = comparison(report("onnxruntime fp32"), *variants)
        return Optimized(compared, Path("page.html"), {FAST.name: stored} if stored else {}, ["a.csv: 9 rows"])

    monkeypatch.setattr(pipeline, "optimize_model", optimize_model)


def test_a_table_tells_what_passed_and_what_to_do(
    run: Run, make_model: MakeModel, asked: list[OptimizeRequest], monkeypatch: pytest.MonkeyPatch
):
    stored = make_model("minilm")
    answer(monkeypatch, asked, SLOW, FAST, LOST, BROKEN, stored=stored)
    result = run("optimize", "minilm", "--data", "a.csv", "--column", "text=review", "--most-lost", "0.02")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "a.csv: 9 rows" in lines
    assert "VARIANT SIZE TEXTS/S SPEED SAME LABELS ACCURACY VERDICT" in lines
    assert "native int16 3.0 MiB 100 2.00 x 1.0000 0.9000 passed" in lines
    assert "openvino fp32 does not run here: no" in lines
    revision = stored.manifest.revision[:12]
    assert f"headrace models promote minilm {revision} makes it answer" in result.stdout
    assert "the same as a page: page.html" in lines
    assert asked[0].columns == {"text": "review"}
    assert (asked[0].data, asked[0].most_lost, asked[0].least_agreement) == (Path("a.csv"), 0.02, 0.99)


def test_if_nothing_passes_the_exit_code_is_that_of_the_gate(
    run: Run, make_model: MakeModel, asked: list[OptimizeRequest], monkeypatch: pytest.MonkeyPatch
):
    make_model("minilm")
    answer(monkeypatch, asked, LOST, BROKEN)
    result = run("optimize", "minilm")
    assert result.exit_code == 3
    assert "no graph was stored" in result.stdout


def test_programs_get_json(
    run: Run, make_model: MakeModel, asked: list[OptimizeRequest], monkeypatch: pytest.MonkeyPatch
):
    stored = make_model("minilm")
    answer(monkeypatch, asked, FAST, stored=stored)
    told = json.loads(run("optimize", "minilm", "--json").stdout)
    assert [each["name"] for each in told["variants"]] == ["onnxruntime fp32", FAST.name]
    assert told["stored"][FAST.name]["revision"] == stored.manifest.revision


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--column", "nothing"), "write ROLE=NAME"), (("--rounds", "0"), "rounds"), (("--most-lost", "2"), "most-lost")],
)
def test_wrong_usage_is_refused(run: Run, arguments: tuple[str, str], message: str):
    result = run("optimize", "minilm", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_model_that_is_not_there_is_named(run: Run):
    result = run("optimize", "nothing")
    assert result.exit_code == 1
    assert "model.unknown" in result.stderr
