"""The keys that this server signs its own tokens with: a file, looked at again and again.

The first key of the file signs; all are published, so that tokens of a key which is to sign soon, or did until now, are
good. What a key is called is its thumbprint (RFC 7638), so no two have the same name by chance.
"""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from headrace.auth.jwts import Signer, read_jwk
from headrace.errors import SettingInvalid
from headrace.following import Following

Algorithm = Literal["ES256", "EdDSA", "RS256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)
TYPE: Final = "at+jwt"
"""What tokens of this server say that they are (RFC 9068)."""

_MAKE: Final[Mapping[Algorithm, Callable[[], Any]]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: generate_rsa(65537, 3072),  # 128 bits of security, as the others
}
_PUBLISH: Final[tuple[tuple[type, Callable[..., Any]], ...]] = (
    (RSAPrivateKey, RSAAlgorithm.to_jwk),
    (EllipticCurvePrivateKey, ECAlgorithm.to_jwk),
    (Ed25519PrivateKey, OKPAlgorithm.to_jwk),
)
_THUMB: Final = (
    "crv",
    "e",
    "kty",
    "n",
    "x",
    "y",
)  # what there is of these, in this order, is what makes the thumbprint
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_MOST_BYTES: Final = 64 << 10
_MOST_KEYS: Final = 8
_SETTING: Final = "auth.signing_keys"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that tokens are signed with.

    Attributes:
        key_id: What its tokens call it.
        signer: Its public half.
        published: The same, as JSON has it (RFC 7517).
        private: The key.
    """

    key_id: str
    signer: Signer
    published: Mapping[str, str]
    private: Any = field(repr=False)


class SigningKeys:
    """The keys of a file.

    Args:
        path: The file: private keys in PEM, one after the other.

    Raises:
        SettingInvalid: It cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None
        self._following = Following(self._settle_apart, "signing_keys.unread", attrgetter("message"))
        self._keys: tuple[SigningKey, ...] = ()
        self._signers: Mapping[str, Signer] = {}
        self.settle()

    @property
    def signers(self) -> Mapping[str, Signer]:
        """The public keys by their ids; another object whenever the file has changed."""
        return self._signers

    @property
    def published(self) -> list[Mapping[str, str]]:
        """The public keys, as JSON has them."""
        return [key.published for key in self._keys]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token that says something."""
        first = self._keys[0]
        header = {"kid": first.key_id, "typ": TYPE}
        return jwt.encode(dict(claims), first.private, first.signer.algorithm, headers=header)

    def settle(self) -> None:
        """Read the file again if it has changed; raises as the class, and the keys stay as they were."""
        content = _read(self._path)
        if content != self._content:
            keys = _parse(content, self._path)
            self._content, self._keys = content, keys
            self._signers = {key.key_id: key.signer for key in keys}

    def start_following(self, period_s: float) -> None:
        """Look at the file again and again."""
        self._following.start(period_s)

    async def aclose(self) -> None:
        """Stop looking."""
        await self._following.aclose()

    async def _settle_apart(self) -> None:
        await asyncio.to_thread(self.settle)


def make_key_file(path: Path, algorithm: Algorithm) -> SigningKey:
    """Make a key, in a new file that only its owner can read.

    Raises:
        SettingInvalid: There is a file already, or none can be made.
    """
    private = _MAKE[algorithm]()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # Made as nobody else's from the start; what is there, a link too, is not written over.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise SettingInvalid(
            f"{str(path)!r} is there, and is not written over; name another file", field="file"
        ) from None
    except OSError as error:
        raise SettingInvalid(f"{str(path)!r} cannot be written ({error.strerror}); name another file") from error
    return _describe(private, 1, path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingInvalid(
            f"{_SETTING} {str(path)!r} cannot be read ({error.strerror}); make one: headrace signing-keys create FILE",
            field=_SETTING,
        ) from None
    if len(content) > _MOST_BYTES:
        raise _invalid(path, f"is larger than {_MOST_BYTES} bytes")
    return content


def _parse(content: bytes, path: Path) -> tuple[SigningKey, ...]:
    found = [match.group() for match in _PEM.finditer(content)]
    if not 1 <= len(found) <= _MOST_KEYS:
        raise _invalid(path, f"has {len(found)} private keys in PEM, and must have 1 to {_MOST_KEYS}")
    keys = []
    for position, pem in enumerate(found, 1):
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # their words may show parts of the file
            raise _invalid(path, f"has a key number {position} that cannot be read without a password") from None
        keys.append(_describe(private, position, path))
    if len({key.key_id for key in keys}) < len(keys):
        raise _invalid(path, "has a key twice")
    return tuple(keys)


def _describe(private: Any, position: int, path: Path) -> SigningKey:
    publish = next((publish for kind, publish in _PUBLISH if isinstance(private, kind)), None)
    told: dict[str, Any] = {} if publish is None else publish(private.public_key(), as_dict=True)
    told = {name: told[name] for name in _THUMB if name in told}
    _, signer = read_jwk({**told, "kid": ""})
    if signer is None:
        raise _invalid(
            path, f"has a key number {position} that is none of P-256, Ed25519 and RSA of 2,048 bits or more"
        )
    thumb = hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).digest()
    key_id = base64.urlsafe_b64encode(thumb).rstrip(b"=").decode()
    published = {**told, "kid": key_id, "use": "sig", "alg": signer.algorithm}
    return SigningKey(key_id, signer, published, private)


def _invalid(path: Path, problem: str) -> SettingInvalid:
    return SettingInvalid(
        f"{_SETTING} {str(path)!r} {problem}; make one: headrace signing-keys create FILE", field=_SETTING
    )
