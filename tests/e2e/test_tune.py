"""What a server does at its first start: it measures what runs a model best, keeps that, and says it."""

import json
from pathlib import Path

from tests.support.models import add_model
from tests.support.server import RunningServer, running_server

from headrace.models.store import LocalStore


def _shown(server: RunningServer) -> dict[str, str]:
    shown: dict[str, str] = json.loads(server.request("GET", "/api/v1/models/tiny").body)
    return {"runtime": shown["runtime"], "precision": shown["precision"]}


def test_the_first_start_measures_and_the_second_one_knows(tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"), "tiny")
    with running_server(tmp_path, "tiny", HEADRACE_ENGINE__TUNE="true") as server:
        shown, log = _shown(server), server.log.read_text()
    assert log.count("engine.tuning") == 1
    (kept,) = (tmp_path / "plans/tiny").iterdir()
    plan = json.loads(kept.read_text())["plan"]
    assert shown == {"runtime": plan["runtime"], "precision": plan["precision"]}
    with running_server(tmp_path, "tiny", HEADRACE_ENGINE__TUNE="true") as server:
        assert _shown(server) == shown
        assert "engine.tuning" not in server.log.read_text()


def test_what_the_user_sets_is_what_runs(tmp_path: Path):
    add_model(LocalStore(tmp_path / "models"), "tiny")
    chosen = {"HEADRACE_ENGINE__RUNTIME": "openvino", "HEADRACE_ENGINE__PRECISION": "fp32"}
    with running_server(tmp_path, "tiny", HEADRACE_ENGINE__TUNE="true", **chosen) as server:
        assert _shown(server) == {"runtime": "openvino", "precision": "fp32"}
        assert server.embed({"inputs": ["w1"]}).status == 200
        assert "engine.tuning" not in server.log.read_text()  # nothing was left to choose
