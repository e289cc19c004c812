"""The guard of a server that takes tokens which it, or another replica, has issued."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from headrace.auth.base import Credentials, Guard
from headrace.auth.jwts import (
    LEEWAY_S,
    Refused,
    Remembered,
    is_token,
    read_scopes,
    read_signed,
    read_time,
    read_unchecked,
)
from headrace.auth.signing import TYPE, SigningKeys
from headrace.auth.standing import AUDIENCE, ISSUER, Access, Standing
from headrace.errors import CallerUnknown
from headrace.records.accounts import LONGEST_TOKEN
from headrace.types import Caller


class IssuedGuard:
    """Admits who shows a token of this server; who shows something else is another's matter.

    A token says who somebody is and how much of what they may do it is for; the rest is what the records say now. So it
    ends with the key or the user that it is for. What is wrong with a token is not told to who shows it.

    Args:
        keys: What tokens are signed with.
        standing: Whom they are for.
        otherwise: Asked about all that is no such token.
        clock: Seconds since 1970.
    """

    is_local = False

    def __init__(
        self, keys: SigningKeys, standing: Standing, otherwise: Guard, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._standing = standing
        self._otherwise = otherwise
        self._clock = clock
        self._remembered = Remembered(self._verify)

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller that the token, or something else, is of.

        Raises:
            CallerUnknown: Nothing of it is known.
        """
        shown = credentials.key
        if shown is None or not _is_ours(shown):
            return self._otherwise.identify(credentials)
        try:
            access = self._check_time(self._remembered.recall(shown, self._keys.signers))
            holder = self._standing.holder(access.subject, self._clock())
            if holder is None or self._standing.is_revoked(access.ids):
                raise Refused  # noqa: TRY301 - as whatever else is wrong with it
        except Refused:
            raise CallerUnknown(
                "the token is none that this server takes, or has ended; get a new one from /api/v1/token,"
                " or send an API key"
            ) from None
        return replace(holder.caller, scopes=access.scopes & holder.caller.scopes)

    def read(self, token: str) -> Access | None:
        """Return what a token says that this server has issued and that has not ended; nothing of another."""
        try:
            return self._check_time(self._verify(token)) if _is_ours(token) else None
        except Refused:
            return None

    def _check_time(self, access: Access) -> Access:
        if not access.made_at - LEEWAY_S <= self._clock() < access.ends_at:
            raise Refused
        return access

    def _verify(self, token: str) -> Access:
        claims = read_signed(token, self._keys.signers.get, (TYPE,))
        made_at, ends_at = read_time(claims, "iat"), read_time(claims, "exp")
        told = [claims.get(name) for name in ("iss", "aud")]
        if told != [ISSUER, AUDIENCE] or ends_at - made_at > LONGEST_TOKEN.total_seconds():
            raise Refused
        ids = (_read_name(claims, "jti"), *([_read_name(claims, "sid")] if "sid" in claims else []))
        return Access(_read_name(claims, "sub"), read_scopes(claims), ids, made_at, ends_at)


def _is_ours(shown: str) -> bool:
    """Tell whether something says that it is a token of this server."""
    try:
        return is_token(shown) and read_unchecked(shown).get("iss") == ISSUER
    except Refused:
        return False


def _read_name(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Refused
    return value
