"""What certificates may be, and that they are renewed."""

from pathlib import Path

import pytest
from tests.support.certificates import Authority

from headrace.errors import SettingInvalid
from headrace.settings import ServerSettings, load_settings
from headrace.tls import Tls, open_tls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def settings(authority: Authority, **more: Path) -> ServerSettings:
    issued = authority.issue("server")
    return ServerSettings(**{"tls_certificate": issued.certificate, "tls_key": issued.key, **more})


def test_without_a_certificate_there_is_no_tls():
    assert open_tls(ServerSettings()) is None


def test_a_certificate_is_read_once(authority: Authority):
    tls = Tls(settings(authority, tls_clients=authority.certificate))
    before = tls.current()
    assert before.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert before.clients == authority.certificate.read_bytes()
    assert tls.current() is before
    assert before.key.decode() not in repr(before)


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(authority: Authority, capsys: pytest.CaptureFixture[str]):
    given = settings(authority)
    assert given.tls_certificate is not None
    assert given.tls_key is not None
    tls = Tls(given)
    before = tls.current()
    other = authority.issue("other")
    other.certificate.replace(given.tls_certificate)
    assert tls.current() is before  # its key is not here yet
    assert "tls.not_renewed" in capsys.readouterr().out
    other.key.replace(given.tls_key)
    assert tls.current().certificate != before.certificate
    assert "tls.renewed" in capsys.readouterr().out
    given.tls_certificate.unlink()
    assert tls.current().certificate != before.certificate


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        ("tls_certificate", b"no certificate", "no certificate in PEM"),
        ("tls_certificate", None, "No such file"),
        ("tls_certificate", b"x" * (1 << 21), "too long"),
        ("tls_key", b"", "no certificate in PEM"),
        ("tls_clients", b"nobody", "authorities in PEM"),
    ],
)
def test_what_is_none_is_told(authority: Authority, tmp_path: Path, field: str, content: bytes | None, message: str):
    path = tmp_path / "wrong"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingInvalid, match=message):
        Tls(settings(authority, **{field: path}))


def test_a_key_with_a_password_asks_nobody(authority: Authority):
    issued = authority.issue("hidden", b"secret")
    with pytest.raises(SettingInvalid, match="no password"):
        Tls(ServerSettings(tls_certificate=issued.certificate, tls_key=issued.key))


@pytest.mark.parametrize("names", [["tls_certificate"], ["tls_key"], ["tls_clients"], ["tls_key", "tls_clients"]])
def test_half_of_it_is_refused(names: list[str]):
    with pytest.raises(SettingInvalid, match=r"tls_(certificate and tls_key|clients needs)"):
        load_settings({f"server.{name}": "file.pem" for name in names})
