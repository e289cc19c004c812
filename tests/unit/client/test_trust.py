"""Certificates that a client is given: what they may be, and where they are of use."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority

import headrace
from headrace.client.trust import SYSTEM, Trust, trust_of
from headrace.errors import SettingInvalid


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def test_without_files_those_of_the_system_are_taken():
    assert trust_of(None, None) == SYSTEM
    assert SYSTEM.pems() == (None, None, None)


def test_files_are_read_for_both_doors(authority: Authority):
    issued = authority.issue("client")
    trust = trust_of(str(authority.certificate), (issued.certificate, issued.key))
    assert trust.pems() == (
        authority.certificate.read_bytes(),
        issued.key.read_bytes(),
        issued.certificate.read_bytes(),
    )
    assert [found["subject"] for found in trust.context().get_ca_certs()] != []


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"x" * (1 << 21)])
@pytest.mark.parametrize("field", ["authorities", "certificate"])
def test_what_is_none_is_told_before_anybody_is_asked(
    authority: Authority, tmp_path: Path, field: str, content: bytes | None
):
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_bytes(content)
    given: Any = {field: wrong if field == "authorities" else (wrong, authority.issue("client").key)}
    for kind in (headrace.Client, headrace.AsyncClient):
        with pytest.raises(SettingInvalid, match=r"wrong\.pem") as refused:
            kind("https://localhost:1", **given)
        assert refused.value.field == field


def test_a_key_with_a_password_asks_nobody(authority: Authority):
    issued = authority.issue("hidden", b"secret")
    with pytest.raises(SettingInvalid, match="no password"):
        Trust(certificate=(issued.certificate, issued.key)).context()


@pytest.mark.parametrize("url", ["http://localhost:1", "grpc://localhost:1"])
def test_certificates_are_of_no_use_without_tls(authority: Authority, url: str):
    with pytest.raises(SettingInvalid, match="https:// and grpcs://"):
        headrace.Client(url, authorities=authority.certificate)


@pytest.mark.parametrize("certificate", ["mill.pem", ("mill.pem",), ()])
def test_a_certificate_is_named_with_its_key(certificate: Any):
    with pytest.raises(SettingInvalid, match="two files"):
        headrace.Client("https://localhost:1", certificate=certificate)


def test_another_word_is_told():
    with pytest.raises(TypeError, match="patience"):
        headrace.Client("http://localhost:1", patience=3)  # type: ignore[call-arg]
