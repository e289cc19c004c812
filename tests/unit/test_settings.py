import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from headrace.errors import SettingInvalid, SettingUnknown
from headrace.settings import LoadedSettings, ServerSettings, default_home, load_settings, options

KEY = "made-up-key-0123456789"
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _empty_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for option in options():
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("HEADRACE_CONFIG", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def test_without_anything_all_is_default() -> None:
    loaded = load_settings()
    assert loaded.settings.server == ServerSettings()
    assert (loaded.settings.server.host, loaded.origins, loaded.file) == ("127.0.0.1", {}, None)


def test_a_flag_beats_the_environment_which_beats_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("[server]\nhost = '::1'\nport = 1\ndrain_timeout_s = 5\n")
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "2")
    monkeypatch.setenv("HEADRACE_SERVER__DRAIN_TIMEOUT_S", "6")
    loaded = load_settings({"server.port": 3}, path)
    server = loaded.settings.server
    assert (server.port, server.drain_timeout_s, server.host) == (3, 6.0, "::1")
    assert loaded.origins == {
        "server.port": "flag",
        "server.drain_timeout_s": "environment",
        "server.host": f"file {path}",
    }


def test_the_file_is_found_by_flag_by_variable_and_by_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def port(loaded: LoadedSettings) -> int:
        return loaded.settings.server.port

    path = write("[server]\nport = 1\n")
    assert port(load_settings(file=path)) == 1
    monkeypatch.setenv("HEADRACE_CONFIG", str(path))
    assert port(load_settings()) == 1
    monkeypatch.delenv("HEADRACE_CONFIG")
    Path("headrace.toml").write_text("[server]\nport = 2\n", encoding="utf-8")
    assert port(load_settings()) == 2


def test_keys_are_separated_by_commas_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AUTH__KEYS", f" {KEY} ,, other-{KEY},")
    loaded = load_settings()
    assert [key.get_secret_value() for key in loaded.settings.auth.keys] == [KEY, f"other-{KEY}"]
    assert KEY not in repr(loaded)
    assert KEY not in str(loaded.settings)


def test_a_file_may_list_the_keys(write: Write) -> None:
    loaded = load_settings(file=write(f"[auth]\nkeys = ['{KEY}', 'b']\n"))
    assert [key.get_secret_value() for key in loaded.settings.auth.keys] == [KEY, "b"]


@pytest.mark.parametrize("content", ["[auth]\nkeys = 12345678901\n", "[auth]\nkeys = [['12345678901']]\n"])
def test_a_wrong_key_is_refused_without_being_shown(write: Write, content: str) -> None:
    with pytest.raises(
        SettingInvalid, match=r"auth\.keys cannot be a secret value \(file .*settings\.toml\)"
    ) as caught:
        load_settings(file=write(content))
    assert "12345678901" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_value_is_named_with_its_option_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "70000")
    with pytest.raises(SettingInvalid, match=r"server\.port cannot be '70000' \(environment\): .*65535") as caught:
        load_settings()
    assert caught.value.field == "server.port"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1, 1e-4])
def test_a_rate_is_a_number_above_zero(value: float) -> None:
    with pytest.raises(SettingInvalid, match=r"limits\.requests_per_s cannot be"):
        load_settings({"limits.requests_per_s": value})


@pytest.mark.parametrize("name", ["HEADRACE_SERVER__PROT", "HEADRACE_SERVER_PORT"])
def test_a_variable_that_is_no_option_is_refused_with_the_nearest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingUnknown, match=f"{name!r} in the environment is no option.*'HEADRACE_SERVER__PORT'"):
        load_settings()


def test_a_variable_in_lower_case_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_server__port", "1")
    with pytest.raises(SettingUnknown, match="'HEADRACE_server__port'"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[server]\nprot = 1\n", "'server.prot' in .* is no option; did you mean 'server.port'"),
        ("[sever]\nport = 1\n", "'sever.port' in .* did you mean 'server.port'"),
        ("port = 1\n", "'port' in .* is no section"),
    ],
)
def test_a_key_that_is_no_option_is_refused_with_the_nearest(write: Write, content: str, told: str) -> None:
    with pytest.raises(SettingUnknown, match=told):
        load_settings(file=write(content))


@pytest.mark.parametrize("content", ["port = ", "[server\n"])
def test_a_file_that_is_no_toml_is_refused(write: Write, content: str) -> None:
    with pytest.raises(SettingInvalid, match="is not readable TOML"):
        load_settings(file=write(content))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="does not exist"):
        load_settings(file=tmp_path / "missing.toml")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().settings.server.port = 1  # type: ignore[misc]


def test_every_option_has_one_name_on_each_surface_and_a_sentence() -> None:
    every = list(options())
    for option in every:
        assert option.variable == "HEADRACE_" + option.key.replace(".", "__").upper()
        assert option.help.endswith(".")
    assert len({option.flag for option in every if option.flag}) == len([option for option in every if option.flag])
    short = [option.short_flag for option in every if option.short_flag]
    assert len(set(short)) == len(short)


def test_a_secret_has_no_flag() -> None:
    secrets = [option for option in options() if option.is_secret]
    assert [option.key for option in secrets] == ["auth.keys", "records.url", "redis.url", "traces.headers"]
    assert [option.flag for option in secrets] == [None] * 4


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("/data", Path("/data/headrace")),
        ("", Path("~/.local/share/headrace")),
        ("relative", Path("~/.local/share/headrace")),
    ],
)
def test_models_are_kept_where_the_desktop_standard_says(
    variable: str, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", variable)
    assert default_home() == expected.expanduser()
    assert load_settings().settings.store.models == expected.expanduser() / "models"


def test_a_tilde_of_nobody_is_refused() -> None:
    with pytest.raises(SettingInvalid, match=r"^store\.home cannot be '~nosuchuser/x' \(flag\): there is no such user"):
        load_settings({"store.home": Path("~nosuchuser/x")})


def test_without_a_home_of_the_user_only_the_store_s_place_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load_settings({"store.home": "/data"}).settings.store.models == Path("/data/models")
    with pytest.raises(SettingInvalid, match=r"--home or set HEADRACE_STORE__HOME") as caught:
        load_settings()
    assert caught.value.field == "store.home"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORE__HOME", "SERVER__PORT", "AUTH__KEYS", "CONFIG"):
        monkeypatch.setenv(f"HEADRACE_{name}", "")
    loaded = load_settings()
    assert (loaded.settings.store.home, loaded.settings.server.port) == (default_home(), 8000)
    assert loaded.origins == {}


@pytest.mark.parametrize("content", ["[server]\nport = true\n", "[limits]\nrequests_per_s = true\n"])
def test_a_truth_value_is_no_number(write: Write, content: str) -> None:
    with pytest.raises(SettingInvalid, match=r"cannot be True .*: true and false are no value for it"):
        load_settings(file=write(content))


def test_a_file_that_may_not_be_looked_at_is_none_unless_it_was_named(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("[server]\nport = 1\n")
    path.rename("headrace.toml")
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert load_settings().file is None
    with pytest.raises(SettingInvalid, match="cannot be read"):
        load_settings(file=Path("headrace.toml"))


def test_a_home_may_start_with_a_tilde() -> None:
    assert load_settings({"store.home": "~/here"}).settings.store.models == Path.home() / "here/models"


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector/", "https://collector/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_a_collector_gets_traces_where_its_protocol_says(given: str, endpoint: str) -> None:
    assert load_settings({"traces.endpoint": given}).settings.traces.endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "collector:4318",
        "grpc://collector",
        "http://",
        "http://[",
        "http://a:b",
        "http://a:0",
        "http://u:p@a",
        "http://a/?b",
    ],
)
def test_what_is_no_collector_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        load_settings({"traces.endpoint": endpoint})
    assert refused.value.field == "traces.endpoint"


@pytest.mark.parametrize(
    "headers", [KEY, f"={KEY}", f"a b={KEY}", f"a={KEY},", f"a={KEY}\r\nb: c", f"a={KEY},,b=c", "a=é"]
)
def test_headers_for_a_collector_that_are_none_are_refused_without_being_shown(
    headers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_TRACES__HEADERS", headers)
    with pytest.raises(SettingInvalid) as refused:
        load_settings()
    assert refused.value.field == "traces.headers"
    assert KEY not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "values", [{"sample": -0.1}, {"sample": 1.1}, {"sample": "nan"}, {"service": "a b"}, {"service": ""}]
)
def test_traces_are_named_and_sampled_within_bounds(values: dict[str, object]) -> None:
    with pytest.raises(SettingInvalid):
        load_settings({f"traces.{name}": value for name, value in values.items()})
