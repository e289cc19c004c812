"""How the tokens of a text fill the model's window, and what becomes of those that do not fit."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import Encoding
from headrace.errors import InputTooLong
from headrace.options import Truncate

# Of a window, an eighth is shown to the next one again. Of 256 tokens that is 31, about an English sentence, so what
# is cut in two at the end of one window is mostly whole in the next; and it costs no more than a seventh in time.
OVERLAP: Final = 8


_NOWHERE: Final = (0, 0, -1)


@dataclass(frozen=True, slots=True)
class Body:
    """A text's own tokens.

    Attributes:
        ids: Without special tokens.
        spans: As of ``Encoding``, or nothing.
    """

    ids: Sequence[int]
    spans: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, start: int, end: int) -> "Body":
        """Return the tokens from one to before another."""
        return Body(self.ids[start:end], None if self.spans is None else self.spans[start:end])


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """What a window looks like.

    Attributes:
        before: Special tokens in front of the text's own.
        after: Special tokens behind them.
        max_tokens: Length of a window, special tokens included.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    max_tokens: int

    @property
    def room(self) -> int:
        """Tokens of a text that one window takes."""
        return self.max_tokens - len(self.before) - len(self.after)

    def lay_out(self, body: Body, truncate: Truncate) -> tuple[Encoding, ...] | InputTooLong:
        """Return the windows of a text.

        Args:
            body: Its tokens. Unless it is to be chunked, ``room + 1`` of them are enough.
            truncate: What to do if they do not fit.
        """
        is_over = len(body) > self.room
        if is_over and truncate == "error":
            return InputTooLong(
                f"the text has more than {self.max_tokens} tokens, which is the model's window; "
                "send less, or set truncate to 'truncate' or 'chunk'"
            )
        if is_over and truncate == "chunk":
            overlap = self.room // OVERLAP
            starts = range(0, len(body) - overlap, self.room - overlap)
            return tuple(self._window(body, start, overlap if start else 0) for start in starts)
        return (self._window(body, 0, 0, truncated=is_over),)

    def _window(self, body: Body, start: int, repeated: int, *, truncated: bool = False) -> Encoding:
        own = body.cut(start, start + self.room)
        # 4 bytes for each token: a list has 36, and a full queue (32 MiB of text) may be 38 million tokens in windows.
        ids = array("i", (*self.before, *own.ids, *self.after))
        spans = None if own.spans is None else frame_spans(len(self.before), own.spans, len(self.after))
        return Encoding(ids=ids, weight=len(own) - repeated, truncated=truncated, spans=spans)


def frame_spans(before: int, spans: NDArray[np.int32], after: int) -> NDArray[np.int32]:
    """Put rows for so many tokens that are not the text's own around those that are."""
    rows = ([_NOWHERE] * before, spans, [_NOWHERE] * after)
    return np.concatenate([np.array(each, np.int32).reshape(-1, 3) for each in rows])
