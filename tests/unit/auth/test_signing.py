import asyncio
import stat
import subprocess
from pathlib import Path

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headrace.auth.signing import ALGORITHMS, Algorithm, SigningKeys, make_key_file
from headrace.errors import SettingInvalid


def pem(private: object, password: bytes | None = None) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password) if password is not None else serialization.NoEncryption()
    )
    return private.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_signs_by_its_kind_and_anybody_can_check_it(tmp_path: Path, algorithm: Algorithm):
    made = make_key_file(tmp_path / "k", algorithm)
    keys = SigningKeys(tmp_path / "k")
    token = keys.sign({"sub": "ada"})
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": made.key_id, "typ": "at+jwt"}
    (published,) = keys.published
    assert published["kid"] == made.key_id
    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert jwt.decode(token, jwt.PyJWK(dict(published)).key, algorithms=[algorithm]) == {"sub": "ada"}
    assert keys.signers.keys() == {made.key_id}
    assert "private" not in repr(made)


def test_the_id_of_a_key_is_its_thumbprint(tmp_path: Path):
    # The example of RFC 8037, A.1 to A.3.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    (tmp_path / "k").write_bytes(pem(Ed25519PrivateKey.from_private_bytes(seed)))
    assert SigningKeys(tmp_path / "k").signers.keys() == {"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}


def test_a_file_is_made_for_its_owner_alone_and_never_written_over(tmp_path: Path):
    make_key_file(tmp_path / "k", "ES256")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    before = (tmp_path / "k").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("k", "link"):
        with pytest.raises(SettingInvalid, match="is not written over"):
            make_key_file(tmp_path / name, "ES256")
    assert (tmp_path / "k").read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(SettingInvalid, match="cannot be written"):
        make_key_file(tmp_path / "none" / "k", "ES256")


def test_the_first_key_signs_and_all_are_published(tmp_path: Path):
    first, second = (make_key_file(tmp_path / name, "ES256") for name in ("a", "b"))
    a, b = ((tmp_path / name).read_bytes() for name in ("a", "b"))
    (tmp_path / "k").write_bytes(b"# the old one\n" + a + b"\n" + b)
    keys = SigningKeys(tmp_path / "k")
    assert [key["kid"] for key in keys.published] == [first.key_id, second.key_id]
    assert jwt.get_unverified_header(keys.sign({}))["kid"] == first.key_id
    known = keys.signers
    keys.settle()
    assert keys.signers is known
    (tmp_path / "k").write_bytes(b + a)
    keys.settle()
    assert jwt.get_unverified_header(keys.sign({}))["kid"] == second.key_id
    assert keys.signers is not known


SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
DSA = dsa.generate_private_key(2048)
P384 = ec.generate_private_key(ec.SECP384R1())
GOOD = pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has 0 private keys"),
        (b"canary", "has 0 private keys"),
        (GOOD.replace(b"PRIVATE", b"PUBLIC"), "has 0 private keys"),
        (GOOD * 9, "has 9 private keys"),
        (GOOD * 2, "has a key twice"),
        (GOOD + pem(SMALL), "key number 2 that is none of"),
        (pem(P384), "key number 1 that is none of"),
        (pem(ed448.Ed448PrivateKey.generate()), "key number 1 that is none of"),
        (pem(DSA), "key number 1 that is none of"),
        (pem(P384, b"canary"), "cannot be read without a password"),
        (b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", "cannot be read without a password"),
        (b"\xff" * 70_000, "is larger than"),
    ],
)
def test_a_file_that_holds_no_keys_to_sign_with_is_told(tmp_path: Path, content: bytes, problem: str):
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(SettingInvalid) as caught:
        SigningKeys(tmp_path / "k")
    assert problem in caught.value.message
    assert "canary" not in caught.value.message
    assert caught.value.field == "auth.signing_keys"


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(SettingInvalid, match="headrace signing-keys create FILE"):
        SigningKeys(tmp_path / "k")


def test_a_file_of_openssl_is_read(tmp_path: Path):
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", str(tmp_path / "k")]
    subprocess.run(command, check=True, capture_output=True)
    assert b"EC PARAMETERS" in (tmp_path / "k").read_bytes()
    assert len(SigningKeys(tmp_path / "k").signers) == 1


async def test_the_file_is_followed_and_what_was_known_stays_while_it_is_broken(tmp_path: Path):
    first = make_key_file(tmp_path / "k", "ES256")
    good, second = (tmp_path / "k").read_bytes(), make_key_file(tmp_path / "b", "ES256")
    keys = SigningKeys(tmp_path / "k")
    with structlog.testing.capture_logs() as lines:
        keys.start_following(0.001)
        (tmp_path / "k").write_bytes(b"broken")
        async with asyncio.timeout(20):
            while not lines:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert keys.signers.keys() == {first.key_id}
        (tmp_path / "k").write_bytes((tmp_path / "b").read_bytes() + good)
        async with asyncio.timeout(20):
            while keys.signers.keys() != {first.key_id, second.key_id}:
                await asyncio.sleep(0.005)
    await keys.aclose()
    assert {line["event"] for line in lines} == {"signing_keys.unread"}
    assert len({line["reason"] for line in lines}) == len(lines)  # each told once
