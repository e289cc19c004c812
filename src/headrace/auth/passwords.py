"""Passwords, as argon2id keeps them: what costs a guesser much costs this server, too, so few are looked at at once."""

import secrets
import unicodedata
from functools import partial
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from headrace.auth.gate import Gate
from headrace.errors import RequestInvalid

SHORTEST: Final = 12
"""Characters that a password has."""
LONGEST: Final = 256
"""Characters that a password has at most."""
# The least that OWASP's Password Storage Cheat Sheet names: inference wants the memory and the time as well. On a busy
# machine it takes 50 ms of a processor.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_AT_ONCE: Final = 2
_WAITING: Final = 32  # the last of them waits for a second


class Passwords:
    """Makes what passwords are compared with, and compares."""

    def __init__(self) -> None:
        self._gate = Gate(_AT_ONCE, _WAITING)
        self._nobodys = _HASHER.hash(secrets.token_hex(16))

    async def make_verifier(self, password: str) -> str:
        """Return what a password is compared with.

        Raises:
            RequestInvalid: It is too short or too long.
            QueueFull: Too many passwords are being looked at.
        """
        if not SHORTEST <= len(password) <= LONGEST:
            raise RequestInvalid(
                f"the password has {len(password)} characters; it must have {SHORTEST} to {LONGEST}", field="password"
            )
        return await self._gate.run(partial(_HASHER.hash, _spell(password)))

    async def match(self, password: str, verifier: str | None) -> bool:
        """Tell whether a password is the right one.

        Args:
            password: As it was shown.
            verifier: What it is compared with; nothing for nobody's, which takes as long.

        Raises:
            QueueFull: Too many passwords are being looked at.
        """
        shown = _spell(password) if len(password) <= LONGEST else b""
        return await self._gate.run(partial(_verify, verifier or self._nobodys, shown)) and verifier is not None


def _spell(password: str) -> bytes:
    # One letter may be typed as one character or as two; it is the same letter.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _verify(verifier: str, shown: bytes) -> bool:
    try:
        return _HASHER.verify(verifier, shown)
    except (VerificationError, InvalidHashError):
        return False
