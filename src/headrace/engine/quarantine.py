"""Texts that killed an engine and are not run again."""

import hashlib
from collections import OrderedDict
from typing import Final

from headrace.types import Text

_MAX_TEXTS: Final = 10_000  # some 1 MB; an attacker with more of them restarts the engine once for each, as before


class Quarantine:
    """A bounded set of texts, known by their SHA-256; the one not asked for longest is forgotten first."""

    def __init__(self, max_texts: int = _MAX_TEXTS) -> None:
        self._max_texts = max_texts
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, text: Text) -> bool:
        if not self._digests:  # nearly always: then nothing is hashed
            return False
        digest = _digest(text)
        if digest not in self._digests:
            return False
        self._digests.move_to_end(digest)
        return True

    def add(self, text: Text) -> str:
        """Add a text, and return its digest in hexadecimal."""
        digest = _digest(text)
        self._digests[digest] = None
        if len(self._digests) > self._max_texts:
            self._digests.popitem(last=False)
        return digest.hex()


def _digest(text: Text) -> bytes:
    if not isinstance(text, str):  # of the digests, or the same letters cut elsewhere would be the same two texts
        return hashlib.sha256(b"".join(map(_digest, text))).digest()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
