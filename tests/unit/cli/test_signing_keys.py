import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.auth.signing import SigningKeys


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_key_that_is_made_here_is_one_to_sign_with(run: Any, tmp_path: Path, algorithm: str):
    file = tmp_path / "signing.pem"
    made = json.loads(run("signing-keys", "create", str(file), "--algorithm", algorithm, "--json").stdout)
    assert SigningKeys(file).signers[made["id"]].algorithm == made["algorithm"] == algorithm
    assert file.stat().st_mode & 0o077 == 0


def test_what_is_there_is_not_written_over(run: Any, tmp_path: Path):
    file = tmp_path / "signing.pem"
    assert "algorithm  ES256" in run("signing-keys", "create", str(file)).stdout
    before = file.read_bytes()
    result = run("signing-keys", "create", str(file))
    assert (result.exit_code, "is not written over" in result.stderr) == (2, True)
    assert file.read_bytes() == before


def test_without_what_makes_keys_that_is_told(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "headrace.auth.signing", raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert "pip install 'headrace[tokens]'" in run("signing-keys", "create", str(tmp_path / "k")).stderr
