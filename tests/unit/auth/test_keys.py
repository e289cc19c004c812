import hashlib
import hmac
import logging
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard, read_keys
from headrace.errors import CallerUnknown, SettingInvalid
from headrace.settings import AuthSettings

FIRST, SECOND, THIRD = "first-made-up-key-1", "second-made-up-key-2", "third-made-up-key-33"


def test_each_key_is_a_caller_named_after_its_digest() -> None:
    guard = KeyGuard([FIRST, SECOND])
    names = [guard.identify(Credentials(peer=None, key=key)).name for key in (FIRST, SECOND)]
    assert names == [f"key-{hashlib.sha256(key.encode()).hexdigest()[:8]}" for key in (FIRST, SECOND)]
    assert len(set(names)) == 2


def test_whoever_sends_no_key_is_told_which_header_to_send() -> None:
    with pytest.raises(CallerUnknown, match="'Authorization: Bearer KEY'"):
        KeyGuard([FIRST]).identify(Credentials(peer="127.0.0.1"))


@pytest.mark.parametrize("key", ["", SECOND, FIRST[:-1], FIRST + "x", FIRST.upper(), " " + FIRST, "\udcff", "ключ"])
def test_only_the_whole_key_is_known(key: str) -> None:
    with pytest.raises(CallerUnknown, match="is not known here"):
        KeyGuard([FIRST]).identify(Credentials(peer="127.0.0.1", key=key))


def test_every_key_is_compared_in_constant_time_also_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare_digest = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return compare_digest(left, right)

    guard = KeyGuard([FIRST, SECOND, THIRD])
    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard.identify(Credentials(peer=None, key=FIRST))
    assert compared == [hashlib.sha256(key.encode()).digest() for key in (FIRST, SECOND, THIRD)]


def test_no_key_stays_in_memory_that_the_guard_holds() -> None:
    assert FIRST not in str(vars(KeyGuard([FIRST])))


@pytest.mark.parametrize(
    "bad", ["x" * 15, "", "has a space in the middle", "tab\tin-the-middle-of-it", "ключ-ключ-ключ-ключ"]
)
def test_a_bad_key_is_named_by_its_position_and_not_shown(bad: str) -> None:
    with pytest.raises(SettingInvalid, match=r"key number 2 of auth\.keys .* openssl rand -hex 32") as caught:
        KeyGuard([FIRST, bad])
    assert caught.value.field == "auth.keys"
    assert not bad or bad not in caught.value.message


def test_a_key_of_sixteen_characters_is_long_enough() -> None:
    KeyGuard(["x" * 16]).identify(Credentials(peer=None, key="x" * 16))


def test_keys_come_from_the_setting_and_then_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# for the nightly job\n\n  {SECOND}  \r\n   # old\n{THIRD}", encoding="utf-8")
    settings = AuthSettings(keys=(SecretStr(FIRST),), keys_file=path)
    assert read_keys(settings) == (FIRST, SECOND, THIRD)


def test_without_settings_there_are_no_keys() -> None:
    assert read_keys(AuthSettings()) == ()


@pytest.mark.parametrize("content", [None, b"", b"# nothing but a comment\n", b"\xff\xfe" + FIRST.encode()])
def test_a_file_without_keys_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingInvalid) as caught:
        read_keys(AuthSettings(keys_file=path))
    assert caught.value.field == "auth.keys_file"
    assert repr(str(path)) in caught.value.message
    assert FIRST not in "".join(traceback.format_exception(caught.value))


def test_no_log_line_holds_a_key(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    settings = AuthSettings(keys=(SecretStr(FIRST),))
    with caplog.at_level(logging.DEBUG):
        guard = KeyGuard(read_keys(settings))
        guard.identify(Credentials(peer=None, key=FIRST))
        with pytest.raises(CallerUnknown) as caught:
            guard.identify(Credentials(peer=None, key=SECOND))
        logging.getLogger("test").error("%r %r %r", settings, guard, caught.value, exc_info=caught.value)
    shown = caplog.text + "".join(capsys.readouterr())
    assert "CallerUnknown" in shown
    assert FIRST not in shown
    assert SECOND not in shown
