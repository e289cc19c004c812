"""The guard of a server with API keys: who shows one of them may call."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

from headrace.auth.base import Credentials
from headrace.errors import CallerUnknown, SettingInvalid
from headrace.settings import AuthSettings
from headrace.types import Caller, Scope

# Fast hashes are for keys, not for passwords: 16 random characters cannot be tried out, and the digest is
# computed on every request.
_KEY: Final = re.compile(r"[!-~]{16,}")


class KeyGuard:
    """Admits who shows a known key, with every scope. Keys are kept as SHA-256 digests only.

    A caller is named ``key-`` and the first 8 hex digits of its key's digest, which a log may show.

    Args:
        keys: At least 16 visible ASCII characters each.

    Raises:
        SettingInvalid: A key is shorter or has other characters; the message says which one by its position.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._callers = [_describe(key, position) for position, key in enumerate(keys, 1)]

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller the key belongs to.

        Raises:
            CallerUnknown: No key was shown, or one that is not known.
        """
        if credentials.key is None:
            raise CallerUnknown("no API key was sent; send one in the header 'Authorization: Bearer KEY'")
        shown = _digest(credentials.key)
        found: Caller | None = None
        # All of them, also after a match: the time taken tells nothing about which key is known.
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, shown):
                found = caller
        if found is None:
            raise CallerUnknown("the API key is not known here; check that it is complete, or ask for another one")
        return found


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


def _describe(key: str, position: int) -> tuple[bytes, Caller]:
    if not _KEY.fullmatch(key):
        raise SettingInvalid(
            f"key number {position} of auth.keys is not made of at least 16 visible ASCII characters; "
            "make one with: openssl rand -hex 32",
            field="auth.keys",
        )
    digest = _digest(key)
    return digest, Caller(f"key-{digest.hex()[:8]}", frozenset(Scope))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
