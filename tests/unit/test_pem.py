"""Files of certificates and keys: read up to a length, and never asked about at a terminal."""

from pathlib import Path

import pytest

from headrace.pem import read_pem, refuse_password


def test_a_file_is_read(tmp_path: Path):
    (tmp_path / "a.pem").write_bytes(b"x" * (1 << 20))
    assert read_pem(tmp_path / "a.pem") == b"x" * (1 << 20)


def test_what_cannot_be_used_is_told(tmp_path: Path):
    with pytest.raises(ValueError, match="No such file"):
        read_pem(tmp_path / "none.pem")
    (tmp_path / "long.pem").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(ValueError, match="too long"):
        read_pem(tmp_path / "long.pem")


def test_nobody_is_asked_for_a_password():
    with pytest.raises(ValueError, match="has a password"):
        refuse_password()
