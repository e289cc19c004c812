"""The guard of a server that takes tokens of an identity provider, beside API keys."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.auth.base import Credentials, Guard
from headrace.auth.issuer import Issuer
from headrace.auth.jwts import LEEWAY_S, Refused, Remembered, is_token, read_scopes, read_signed, read_time
from headrace.errors import CallerUnknown
from headrace.types import Caller

PREFIX: Final = "token-"
_LONGEST_S: Final = 86_400  # from its making to its end
_NAME: Final = re.compile(r"[!-~]{1,128}")
_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TYPES: Final = (None, "JWT", "at+jwt")


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
        self._remembered = Remembered(self._verify)

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller that the token, or the key, is of.

        Raises:
            CallerUnknown: Neither is known.
        """
        shown = credentials.key
        if shown is None or not is_token(shown):
            return self._otherwise.identify(credentials)
        try:
            return self._check_time(self._remembered.recall(shown, self._issuer.signers))
        except Refused:
            raise CallerUnknown(
                f"the token is none that this server takes, or has ended; get a new one from {self._issuer.url},"
                " or send an API key"
            ) from None

    def _check_time(self, known: _Known) -> Caller:
        now = self._clock()
        if not known.begins_at - LEEWAY_S <= now < known.ends_at:
            raise Refused
        return known.caller

    def _verify(self, token: str) -> _Known:
        return self._read_claims(read_signed(token, self._issuer.find, _TYPES))

    def _read_claims(self, claims: Mapping[str, Any]) -> _Known:
        made_at, ends_at = read_time(claims, "iat"), read_time(claims, "exp")
        begins_at = max(made_at, read_time(claims, "nbf") if "nbf" in claims else made_at)
        audience = claims.get("aud")
        is_ours = self._audience in audience if isinstance(audience, list) else audience == self._audience
        subject = claims.get("sub")
        if claims.get("iss") != self._issuer.url or not is_ours or ends_at - made_at > _LONGEST_S:
            raise Refused
        if not isinstance(subject, str) or not _NAME.fullmatch(subject):
            raise Refused
        return _Known(Caller(f"{PREFIX}{subject}", read_scopes(claims), self._read_tenant(claims)), begins_at, ends_at)

    def _read_tenant(self, claims: Mapping[str, Any]) -> str:
        if not self._tenant_claim:
            return ""
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
            raise Refused
        return tenant
