import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.cli.conftest import MakeModel, Run

from headrace.cli.serve import example_call
from headrace.errors import PortTaken
from headrace.settings import LoadedSettings

URL = "http://127.0.0.1:8000"


class FakeServer:
    """Announces itself and stops at once."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.loaded: LoadedSettings | None = None

    def run(self, loaded: LoadedSettings, models: Sequence[str], announce: Callable[[str, str | None], None]) -> None:
        self.loaded, self.models = loaded, list(models)
        announce(URL, None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr("headrace.app.run_server", fake.run)
    return fake


def test_without_names_every_model_is_served_and_the_first_by_name_is_the_default(
    run: Run, server: FakeServer, make_model: MakeModel
) -> None:
    for name in ("zeta", "alpha", "beta"):
        make_model(name, content=name)
    assert run("serve").exit_code == 0
    assert server.models == ["alpha", "beta", "zeta"]


def test_named_models_are_served_in_their_order_each_once(run: Run, server: FakeServer, make_model: MakeModel) -> None:
    make_model("alpha")
    make_model("zeta", content="other")
    run("serve", "zeta", "alpha", "zeta")
    assert server.models == ["zeta", "alpha"]


def test_an_empty_store_is_one_error_with_the_import_command(run: Run, server: FakeServer) -> None:
    result = run("serve")
    assert (result.exit_code, server.models) == (1, [])
    assert result.stderr.startswith("headrace: model.unknown: ")
    assert "headrace import" in result.stderr


def test_a_broken_model_does_not_keep_the_whole_ones_from_being_served(
    run: Run, server: FakeServer, make_model: MakeModel, home: Path
) -> None:
    make_model("alpha")
    (home / "models/alpha/junk").mkdir()
    (make_model("beta", content="other").path / "manifest.json").unlink()
    result = run("serve")
    assert (result.exit_code, server.models) == (0, ["alpha"])
    assert result.stderr.count("headrace: warning: model.corrupt: ") == 2
    result = run("serve", "beta")
    assert (result.exit_code, "manifest.json is missing" in result.stderr) == (1, True)


def test_if_every_model_is_broken_the_reason_is_told(run: Run, server: FakeServer, make_model: MakeModel) -> None:
    (make_model("alpha").path / "manifest.json").unlink()
    result = run("serve")
    assert (result.exit_code, server.models) == (1, [])
    assert result.stderr.startswith("headrace: model.corrupt: ")


def test_an_unknown_model_is_refused_before_anything_starts(
    run: Run, server: FakeServer, make_model: MakeModel
) -> None:
    make_model("alpha")
    assert run("serve", "alpha", "nobody").exit_code == 1
    assert server.models == []


def test_the_places_of_the_api_are_printed(run: Run, server: FakeServer, make_model: MakeModel) -> None:
    make_model()
    out = run("serve").stdout
    for place in ("minilm", f"{URL}/api/v1\n", f"{URL}/docs\n", f"{URL}/metrics\n", f"curl -s {URL}/api/v1/embed"):
        assert place in out


def test_the_places_of_the_api_are_printed_as_json(run: Run, server: FakeServer, make_model: MakeModel) -> None:
    make_model()
    places = json.loads(run("serve", "--json").stdout)
    assert places == {
        "api": f"{URL}/api/v1",
        "docs": f"{URL}/docs",
        "metrics": f"{URL}/metrics",
        "try": example_call(URL, "embed", None, with_key=False),
        "models": ["minilm"],
        "default_model": "minilm",
    }


def test_the_call_can_be_pasted_into_a_shell() -> None:
    words = shlex.split(example_call(URL, "embed", None, with_key=False))
    assert words[:3] == ["curl", "-s", f"{URL}/api/v1/embed"]
    assert json.loads(words[-1]) == {"inputs": ["The water drives the wheel."]}


def test_the_call_has_what_its_task_wants() -> None:
    for task, beside in (("rerank", {"query"}), ("answer", {"query"}), ("zeroshot", {"labels"}), ("classify", set())):
        body = json.loads(shlex.split(example_call(URL, task, None, with_key=False))[-1])
        assert body.keys() == {"inputs", *beside}
    masked = json.loads(shlex.split(example_call(URL, "fill", "<it's>", with_key=False))[-1])
    assert masked == {"inputs": ["The water drives the <it's>."]}


def test_with_keys_the_call_takes_the_key_from_a_variable(
    run: Run, server: FakeServer, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model()
    monkeypatch.setenv("HEADRACE_AUTH__KEYS", "a-very-secret-key-1234")
    out = run("serve").stdout
    assert '-H "authorization: Bearer $HEADRACE_KEY"' in out
    assert "a-very-secret-key-1234" not in out


def test_flags_reach_the_server(run: Run, server: FakeServer, make_model: MakeModel) -> None:
    make_model()
    run("serve", "--port", "0", "--threads", "2")
    assert server.loaded is not None
    assert (server.loaded.settings.server.port, server.loaded.settings.engine.threads) == (0, 2)


def test_a_taken_port_is_one_line(run: Run, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise PortTaken("another process listens on 127.0.0.1:8000")

    make_model()
    monkeypatch.setattr("headrace.app.run_server", refuse)
    result = run("serve")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
