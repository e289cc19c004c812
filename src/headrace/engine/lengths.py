"""How many tokens a text will have, guessed before it is tokenized: from its bytes, and from what earlier texts had."""

import math
from collections.abc import Iterable
from typing import Final

from headrace.engine.base import Output
from headrace.errors import HeadraceError
from headrace.options import Truncate
from headrace.types import Text

# Bytes of UTF-8 rather than characters: English has some 0.25 tokens a character and Chinese 1 to 2, but 0.25 and
# 0.3 to 0.7 a byte, so one ratio is nearer to both.
_FIRST_TOKENS_PER_BYTE: Final = 0.25
_FIRST_BYTES: Final = 256  # weight of the above, as if a text of so many bytes had been seen
_MEMORY_BYTES: Final = 65_536  # some hundred texts; when so many bytes were counted, they count half
_NO_WINDOW: Final = 1 << 62
_SPECIAL_TOKENS: Final = 2  # the first and the last token, as BERT has them


def size_bytes(text: Text) -> int:
    """Return the length of a text in UTF-8; a lone surrogate, which is refused later, counts three bytes."""
    if not isinstance(text, str):
        return sum(map(size_bytes, text))
    # Python knows of a string whether it is ASCII, so most texts are not looked at.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def count_chars(text: Text) -> int:
    """Return the length of a text in characters."""
    return len(text) if isinstance(text, str) else sum(map(len, text))


class TokenEstimate:
    """Learns a ratio of tokens to bytes, and the model's window.

    A guess may be far off for one text (a page of spaces has no tokens). It is right for the sum of many, and once a
    text was cut to the window, no text that may be cut is taken for longer.
    """

    def __init__(self) -> None:
        self._bytes: float = _FIRST_BYTES
        self._tokens = _FIRST_BYTES * _FIRST_TOKENS_PER_BYTE
        self._window = _NO_WINDOW

    def guess(self, size: int, truncate: Truncate) -> int:
        """Return the likely number of tokens that are computed for a text of ``size`` bytes, at least 1."""
        whole = math.ceil(_SPECIAL_TOKENS + size * self._tokens / self._bytes)
        return whole if truncate == "chunk" else min(self._window, whole)

    def learn(self, texts: Iterable[Text], items: Iterable[Output | HeadraceError]) -> None:
        """Take the texts of a job, and what came of them; an error says nothing."""
        for text, item in zip(texts, items, strict=True):
            if not isinstance(item, Output):
                continue
            if item.truncated:
                self._window = item.tokens
                continue
            self._bytes += size_bytes(text)
            self._tokens += max(0, item.tokens - _SPECIAL_TOKENS)
            if self._bytes + self._tokens > _MEMORY_BYTES:
                self._bytes, self._tokens = self._bytes / 2, self._tokens / 2
