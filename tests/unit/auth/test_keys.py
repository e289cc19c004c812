import dataclasses
import hashlib
import hmac
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from headrace.auth.base import Credentials
from headrace.auth.keys import KeyGuard, digest_of, read_keys
from headrace.auth.loopback import LoopbackGuard
from headrace.errors import CallerUnknown, SettingInvalid
from headrace.records.base import Key
from headrace.settings import AuthSettings
from headrace.types import Caller, Scope

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


def test_a_key_is_compared_in_constant_time_also_if_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare_digest = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return compare_digest(left, right)

    guard = KeyGuard([FIRST, SECOND])
    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard.identify(Credentials(peer=None, key=FIRST))
    with pytest.raises(CallerUnknown):
        guard.identify(Credentials(peer=None, key=THIRD))
    assert compared == [(digest_of(FIRST), digest_of(FIRST)), (bytes(32), digest_of(THIRD))]


def kept(text: str, **changed: object) -> Key:
    key = Key(
        id="k1",
        name="job",
        digest=digest_of(text),
        tenant="acme",
        scopes=frozenset({Scope.INFER}),
        models=frozenset({"m"}),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ends_at=None,
    )
    return dataclasses.replace(key, **changed)  # type: ignore[arg-type]


def test_a_kept_key_gives_what_it_is_for() -> None:
    guard = KeyGuard([FIRST])
    guard.learn_kept([kept(SECOND)])
    caller = guard.identify(Credentials(peer=None, key=SECOND))
    assert caller == Caller("key-k1", frozenset({Scope.INFER}), "acme", frozenset({"m"}))
    assert guard.identify(Credentials(peer=None, key=FIRST)).scopes == frozenset(Scope)


def test_a_key_is_refused_from_the_moment_at_which_it_ends() -> None:
    now = 1000.0
    guard = KeyGuard([], clock=lambda: now)
    guard.learn_kept([kept(SECOND, ends_at=datetime.fromtimestamp(1001, UTC))])
    assert guard.identify(Credentials(peer=None, key=SECOND)).name == "key-k1"
    now = 1001.0
    with pytest.raises(CallerUnknown, match="has ended"):
        guard.identify(Credentials(peer=None, key=SECOND))


def test_what_is_learnt_takes_the_place_of_what_was_known() -> None:
    guard = KeyGuard([FIRST])
    guard.learn_kept([kept(SECOND)])
    guard.learn_fixed([THIRD])
    guard.learn_kept([])
    guard.identify(Credentials(peer=None, key=THIRD))
    for gone in (FIRST, SECOND):
        with pytest.raises(CallerUnknown):
            guard.identify(Credentials(peer=None, key=gone))


def test_before_the_first_key_somebody_else_decides_and_never_again() -> None:
    guard = KeyGuard([], LoopbackGuard())
    here = Credentials(peer="127.0.0.1")
    assert guard.is_local
    assert guard.identify(here).name == "local"
    guard.learn_kept([kept(SECOND)])
    assert not guard.is_local
    guard.learn_kept([])
    assert not guard.is_local
    with pytest.raises(CallerUnknown):
        guard.identify(here)


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
