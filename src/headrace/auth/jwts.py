"""JSON Web Tokens: how one is read that chooses nothing itself, and how the keys are described that sign them."""

import base64
import binascii
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from headrace.types import Scope

# What begins with {" in base64url, and has two dots; an API key may have dots as well.
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MOST_CHARACTERS: Final = 8192
_KNOWN_TOKENS: Final = 4096
_HEADER: Final = frozenset({"alg", "kid", "typ"})
"""All that a token's header may have: the rest says where a key is, or what else must be understood."""
# One algorithm for each kind of key, so that a token chooses none; of P-256 and Ed25519 there is one size.
_ALGORITHMS: Final[Mapping[tuple[str, str | None], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_RSA_BITS: Final = (2048, 8192)  # of 16,384 one signature takes as long to check as a text to embed
LEEWAY_S: Final = 30
"""By which clocks differ."""

T = TypeVar("T")


class Refused(Exception):
    """A token that is not taken; why is nobody's business."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that tokens are signed with, its public half.

    Attributes:
        algorithm: The one that it is used with.
        public: The key, as PyJWT takes it.
    """

    algorithm: str
    public: Any


class Remembered(Generic[T]):
    """What tokens say, so that a signature is checked once as long as the keys are the same.

    Args:
        read: Returns what a token says, or raises ``Refused``.
    """

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read
        self._signers: Mapping[str, Signer] = {}
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def recall(self, token: str, signers: Mapping[str, Signer]) -> T:
        """Return what a token says; raises as what reads it."""
        if self._signers is not signers:
            self._signers = signers
            self._known.clear()
        place = hashlib.sha256(token.encode()).digest()
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._read(token)
            if len(self._known) > _KNOWN_TOKENS:
                self._known.popitem(last=False)
        return known


def is_token(shown: str) -> bool:
    """Tell whether something that was shown looks like a token."""
    return _TOKEN.fullmatch(shown) is not None


def read_signed(token: str, find: Callable[[str], Signer | None], types: tuple[str | None, ...]) -> dict[str, Any]:
    """Return the claims of a token with a good signature.

    Args:
        token: As it was shown.
        find: Returns the key of an id, whose kind decides the algorithm.
        types: What its header may say of what it is; ``None`` for nothing.

    Raises:
        Refused: It has none, or is spelled in another way than the one there is.
    """
    parts = _split(token)
    header, claims = _read(parts[0]), _read(parts[1])
    _require_canonical(parts[2])
    key_id = header.get("kid")
    if not header.keys() <= _HEADER or header.get("typ") not in types or not isinstance(key_id, str):
        raise Refused
    signer = find(key_id)
    if signer is None or header.get("alg") != signer.algorithm:
        raise Refused
    try:
        jwt.PyJWS(algorithms=[signer.algorithm]).decode(token, signer.public, algorithms=[signer.algorithm])
    except (jwt.PyJWTError, ValueError) as error:
        raise Refused from error
    return claims


def read_unchecked(token: str) -> dict[str, Any]:
    """Return the claims of a token that anybody may have made; raises ``Refused``."""
    return _read(_split(token)[1])


def read_time(claims: Mapping[str, Any], name: str) -> int:
    """Return a time, seconds since 1970; raises ``Refused`` if it is none that is written as a whole number."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise Refused
    return value


def read_scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Return the scopes that are known here, spelled exactly so."""
    told = claims.get("scope", claims.get("scp", ""))
    names = told.split(" ") if isinstance(told, str) else told if isinstance(told, list) else []
    return frozenset(scope for scope in Scope if scope in names)


def read_jwk(told: Any) -> tuple[str, Signer | None]:
    """Return a public key (RFC 7517) and its id; no key if it is none that is used here."""
    if not isinstance(told, dict) or not isinstance(key_id := told.get("kid"), str):
        return "", None
    kind, curve = told.get("kty"), told.get("crv")
    algorithm = _ALGORITHMS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    is_ours = told.get("alg", algorithm) == algorithm and told.get("use", "sig") == "sig"
    if algorithm is None or not is_ours:
        return key_id, None
    try:
        public = jwt.PyJWK(told, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return key_id, None
    if isinstance(public, RSAPublicKey) and not _RSA_BITS[0] <= public.key_size <= _RSA_BITS[-1]:
        return key_id, None
    return key_id, Signer(algorithm, public)


def _split(token: str) -> list[str]:
    if len(token) > _MOST_CHARACTERS:
        raise Refused
    return token.split(".")


def _read(part: str) -> dict[str, Any]:
    """Return the JSON object in a part of a token."""
    try:
        told = json.loads(_require_canonical(part), object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if not isinstance(told, dict):
        raise Refused
    return told


def _require_canonical(part: str) -> bytes:
    """Decode what is spelled in the one way there is: other spellings would be other tokens with the same signature."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise Refused from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise Refused
    return data


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):  # who reads the first of two and who reads the last would read different tokens
        raise Refused
    return told


def _refuse_constant(_name: str) -> None:
    raise Refused
