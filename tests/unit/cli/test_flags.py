import json
from pathlib import Path

import pytest
import typer.main
from tests.unit.cli.conftest import Run

from headrace.cli.main import app
from headrace.settings import options


def config(run: Run, *args: str) -> dict[str, tuple[object, str]]:
    result = run("config", "--json", *args)
    assert result.exit_code == 0, result.stderr
    return {row["option"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}


def test_every_option_that_is_no_secret_has_its_flag() -> None:
    command = typer.main.get_command(app).commands["config"]  # type: ignore[attr-defined]
    names = {name for parameter in command.params for name in parameter.opts}
    for known in options():
        assert known.is_secret or known.flag in names
        assert known.short_flag is None or known.short_flag in names


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "some.toml"
    file.write_text("[server]\nport = 1\nhost = '127.0.0.3'\nmax_body_bytes = 4096\n", encoding="utf-8")
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "2")
    monkeypatch.setenv("HEADRACE_SERVER__HOST", "127.0.0.2")
    rows = config(run, "--port", "3", "--config", str(file))
    assert rows["server.port"] == (3, "flag")
    assert rows["server.host"] == ("127.0.0.2", "environment")
    assert rows["server.max_body_bytes"] == (4096, f"file {file}")
    assert rows["engine.sessions"] == (1, "default")


def test_the_long_and_the_short_flag_are_one(run: Run) -> None:
    assert config(run, "--server-port", "3")["server.port"] == config(run, "--port", "3")["server.port"]


def test_a_flag_takes_the_kinds_of_values_its_option_takes(run: Run) -> None:
    rows = config(run, "--threads", "2", "--limits-requests-per-s", "1.5", "--log-format", "json")
    assert rows["engine.threads"] == (2, "flag")
    assert rows["limits.requests_per_s"] == (1.5, "flag")
    assert rows["log.format"] == ("json", "flag")


def test_a_list_is_one_flag_and_shown_as_it_is_written(run: Run) -> None:
    assert config(run)["limits.rules"] == (None, "default")
    rows = config(run, "--limits-rules", " 8 concurrent;20  requests/s model=a")
    assert rows["limits.rules"] == ("8 concurrent; 20 requests/s burst=20 model=a", "flag")


@pytest.mark.parametrize(
    "args",
    [
        ("--port", "x"),
        ("--limits-rules", "many requests"),
        ("--port", "70000"),
        ("--log-level", "loud"),
        ("--config", "missing.toml"),
        ("--nonsense",),
    ],
)
def test_a_wrong_flag_ends_with_exit_code_2(run: Run, args: tuple[str, ...]) -> None:
    assert run("config", *args).exit_code == 2


def test_a_secret_is_masked_and_has_no_flag(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AUTH__KEYS", "a-very-secret-key-1234")
    assert config(run)["auth.keys"] == ("********", "environment")
    for output in (run("config"), run("config", "--json"), run("config", "--help")):
        assert "a-very-secret-key-1234" not in output.output
        assert "--auth-keys " not in output.output


def test_the_table_shows_every_option_and_the_file(run: Run, tmp_path: Path) -> None:
    out = run("config").stdout
    assert all(known.key in out and known.variable in out for known in options())
    assert out.endswith("file: none\n")
    (tmp_path / "current/headrace.toml").write_text("[log]\nlevel = 'error'\n", encoding="utf-8")
    out = run("config").stdout
    assert out.endswith("file: headrace.toml\n")


def test_an_unknown_variable_is_named_with_the_nearest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SERVER__PROT", "1")
    result = run("config", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stderr) == {
        "code": "setting.unknown",
        "message": "'HEADRACE_SERVER__PROT' in the environment is no option; "
        "did you mean 'HEADRACE_SERVER__PORT'? See headrace config",
        "retryable": False,
        "field": "HEADRACE_SERVER__PROT",
    }


def test_what_is_on_by_default_can_be_switched_off():
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    (tune,) = [parameter for parameter in command.params if parameter.name == "engine__tune"]
    assert set(tune.opts) == {"--tune", "--engine-tune"}
    assert set(tune.secondary_opts) == {"--no-tune", "--no-engine-tune"}
