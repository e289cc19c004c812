"""The guard of a server with API keys: who shows one of them may call."""

import hashlib
import hmac
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.auth.base import Credentials, Guard
from headrace.errors import CallerUnknown, SettingInvalid
from headrace.records.base import Key
from headrace.settings import AuthSettings
from headrace.types import Caller, Scope

# Fast hashes are for keys, not for passwords: 16 random characters cannot be tried out, and the digest is
# computed on every request.
_KEY: Final = re.compile(r"[!-~]{16,}")
_PLACE: Final = 8  # bytes of a digest by which a key is looked up


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    caller: Caller
    ends_at: float  # seconds since 1970


_NOBODY: Final = _Known(bytes(hashlib.sha256().digest_size), Caller("", frozenset()), math.inf)


class KeyGuard:
    """Admits who shows a known key, with what the key is for. Keys are known by their SHA-256 digests only.

    There are those of the settings, which may do everything, and those that are kept in records. A caller is named
    ``key-`` and the first 8 hex digits of a setting's digest, or the id of a kept key: a log may show both.

    Args:
        keys: Of the settings; at least 16 visible ASCII characters each.
        otherwise: Asked as long as there never was any key.
        clock: Seconds since 1970.

    Raises:
        SettingInvalid: A key is shorter or has other characters; the message says which one by its position.
    """

    def __init__(
        self, keys: Iterable[str], otherwise: Guard | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._otherwise = otherwise
        self._clock = clock
        self._fixed: Mapping[bytes, _Known] = {}
        self._kept: Mapping[bytes, _Known] = {}
        self._had_keys = False
        self.learn_fixed(keys)

    @property
    def is_local(self) -> bool:
        """Whether only this machine is admitted: there never was a key.

        Once there was one it stays so, also when all have ended: a key that is revoked must not open the door.
        """
        return self._otherwise is not None and not self._had_keys

    def learn_fixed(self, keys: Iterable[str]) -> None:
        """Know these keys of the settings, and none from before; raises as the class."""
        known = [_describe(key, position) for position, key in enumerate(keys, 1)]
        self._fixed = _by_place(known)
        self._had_keys |= bool(known)

    def learn_kept(self, keys: Iterable[Key]) -> None:
        """Know these keys of the records, and none from before."""
        known = [
            _Known(
                key.digest,
                Caller(f"key-{key.id}", key.scopes, key.tenant, key.models),
                math.inf if key.ends_at is None else key.ends_at.timestamp(),
            )
            for key in keys
        ]
        self._kept = _by_place(known)
        self._had_keys |= bool(known)

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller the key belongs to.

        Raises:
            CallerUnknown: No key was shown, or one that is not known or has ended.
        """
        if self._otherwise is not None and not self._had_keys:
            return self._otherwise.identify(credentials)
        if credentials.key is None:
            raise CallerUnknown("no API key was sent; send one in the header 'Authorization: Bearer KEY'")
        shown = digest_of(credentials.key)
        place = shown[:_PLACE]
        # The time of the look-up depends on the digest, which nobody can choose; that of the comparison on nothing.
        found = self._fixed.get(place) or self._kept.get(place) or _NOBODY
        if not hmac.compare_digest(found.digest, shown):
            raise CallerUnknown("the API key is not known here; check that it is complete, or ask for another one")
        if found.ends_at <= self._clock():
            raise CallerUnknown("the API key has ended; ask for a new API key")
        return found.caller


def read_keys(settings: AuthSettings) -> tuple[str, ...]:
    """Return the keys of ``auth.keys``, then those of ``auth.keys_file`` (one on each line, ``#`` starts a comment).

    Raises:
        SettingInvalid: The file cannot be read, or holds no key.
    """
    keys = tuple(key.get_secret_value() for key in settings.keys)
    path = settings.keys_file
    if path is None:
        return keys
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # The cause is left out: a decoding error shows the bytes of the file.
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingInvalid(
            f"auth.keys_file {str(path)!r} cannot be read ({reason}); name a file with one key on each line",
            field="auth.keys_file",
        ) from None
    found = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise SettingInvalid(f"auth.keys_file {str(path)!r} holds no key; add one or unset it", field="auth.keys_file")
    return keys + found


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key, 32 bytes: all that is ever kept of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _by_place(known: Iterable[_Known]) -> dict[bytes, _Known]:
    return {each.digest[:_PLACE]: each for each in known}


def _describe(key: str, position: int) -> _Known:
    if not _KEY.fullmatch(key):
        raise SettingInvalid(
            f"key number {position} of auth.keys is not made of at least 16 visible ASCII characters; "
            "make one with: openssl rand -hex 32",
            field="auth.keys",
        )
    digest = digest_of(key)
    return _Known(digest, Caller(f"key-{digest.hex()[:8]}", frozenset(Scope)), math.inf)
