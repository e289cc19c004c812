"""The guard of a server that takes tokens of an identity provider, beside API keys."""

import base64
import binascii
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from headrace.auth.base import Credentials, Guard
from headrace.auth.issuer import Issuer, Signer
from headrace.errors import CallerUnknown
from headrace.types import Caller, Scope

PREFIX: Final = "token-"
# What begins with {" in base64url, and has two dots; an API key may have dots as well.
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MOST_CHARACTERS: Final = 8192
_LEEWAY_S: Final = 30  # clocks differ
_LONGEST_S: Final = 86_400  # from its making to its end
_KNOWN_TOKENS: Final = 4096
_NAME: Final = re.compile(r"[!-~]{1,128}")
_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HEADER: Final = frozenset({"alg", "kid", "typ"})
"""All that a token's header may have: the rest says where a key is, or what else must be understood."""
_TYPES: Final = (None, "JWT", "at+jwt")


class _Refused(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    begins_at: int
    ends_at: int


class TokenGuard:
    """Admits who shows a token that the provider signed for this server; who shows something else is another's matter.

    A caller is named ``token-`` and the token's ``sub``, so that none can be called as a key is. Its scopes are those
    of ``scope`` (or ``scp``) that are known here, spelled exactly so; a token without any may do nothing. What is wrong
    with a token is not told to who shows it.

    Args:
        issuer: Whose tokens; they must name it exactly.
        audience: What they must be for: ``aud`` is this, or a list that has it.
        tenant_claim: Name of the claim that says whose a caller is, which then must be there; empty if there is none.
        otherwise: Asked about all that is no token.
        clock: Seconds since 1970.
    """

    is_local = False

    def __init__(
        self,
        issuer: Issuer,
        audience: str,
        tenant_claim: str,
        otherwise: Guard,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._otherwise = otherwise
        self._clock = clock
        self._signers = issuer.signers
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller that the token, or the key, is of.

        Raises:
            CallerUnknown: Neither is known.
        """
        shown = credentials.key
        if shown is None or not _TOKEN.fullmatch(shown):
            return self._otherwise.identify(credentials)
        try:
            return self._check_time(self._recall(shown))
        except _Refused:
            raise CallerUnknown(
                f"the token is none that this server takes, or has ended; get a new one from {self._issuer.url},"
                " or send an API key"
            ) from None

    def _recall(self, token: str) -> _Known:
        """Return what a token says; a signature is checked once, as long as the provider's keys are the same."""
        if self._signers is not self._issuer.signers:
            self._signers = self._issuer.signers
            self._known.clear()
        place = hashlib.sha256(token.encode()).digest()
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._verify(token)
            if len(self._known) > _KNOWN_TOKENS:
                self._known.popitem(last=False)
        return known

    def _check_time(self, known: _Known) -> Caller:
        now = self._clock()
        if not known.begins_at - _LEEWAY_S <= now < known.ends_at:
            raise _Refused
        return known.caller

    def _verify(self, token: str) -> _Known:
        if len(token) > _MOST_CHARACTERS:
            raise _Refused
        parts = token.split(".")
        header, claims = _read(parts[0]), _read(parts[1])
        _require_canonical(parts[2])
        signer = self._find_signer(header)
        try:
            jwt.PyJWS(algorithms=[signer.algorithm]).decode(token, signer.public, algorithms=[signer.algorithm])
        except (jwt.PyJWTError, ValueError) as error:
            raise _Refused from error
        return self._read_claims(claims)

    def _find_signer(self, header: Mapping[str, Any]) -> Signer:
        key_id = header.get("kid")
        if not header.keys() <= _HEADER or header.get("typ") not in _TYPES or not isinstance(key_id, str):
            raise _Refused
        signer = self._issuer.find(key_id)
        if signer is None or header.get("alg") != signer.algorithm:
            raise _Refused
        return signer

    def _read_claims(self, claims: Mapping[str, Any]) -> _Known:
        made_at, ends_at = _read_time(claims, "iat"), _read_time(claims, "exp")
        begins_at = max(made_at, _read_time(claims, "nbf") if "nbf" in claims else made_at)
        audience = claims.get("aud")
        is_ours = self._audience in audience if isinstance(audience, list) else audience == self._audience
        subject = claims.get("sub")
        if claims.get("iss") != self._issuer.url or not is_ours or ends_at - made_at > _LONGEST_S:
            raise _Refused
        if not isinstance(subject, str) or not _NAME.fullmatch(subject):
            raise _Refused
        return _Known(Caller(f"{PREFIX}{subject}", _read_scopes(claims), self._read_tenant(claims)), begins_at, ends_at)

    def _read_tenant(self, claims: Mapping[str, Any]) -> str:
        if not self._tenant_claim:
            return ""
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
            raise _Refused
        return tenant


def _read(part: str) -> dict[str, Any]:
    """Return the JSON object in a part of a token."""
    try:
        told = json.loads(_require_canonical(part), object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _Refused from error
    if not isinstance(told, dict):
        raise _Refused
    return told


def _require_canonical(part: str) -> bytes:
    """Decode what is spelled in the one way there is: other spellings would be other tokens with the same signature."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise _Refused from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise _Refused
    return data


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):  # who reads the first of two and who reads the last would read different tokens
        raise _Refused
    return told


def _refuse_constant(_name: str) -> None:
    raise _Refused


def _read_time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise _Refused
    return value


def _read_scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    told = claims.get("scope", claims.get("scp", ""))
    names = told.split(" ") if isinstance(told, str) else told if isinstance(told, list) else []
    return frozenset(scope for scope in Scope if scope in names)
