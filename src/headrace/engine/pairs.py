"""How the tokens of two texts fill the model's window together."""

from array import array
from dataclasses import dataclass
from typing import Final

from headrace.engine.base import Encoding
from headrace.engine.windows import OVERLAP, Body, frame_spans
from headrace.errors import InputTooLong
from headrace.options import Truncate

# In several windows the shorter text is in each of them; it may take half, or little of the other would be left.
_WHOLE_SHARE: Final = 2


@dataclass(frozen=True, slots=True)
class PairLayout:
    """What a window with two texts looks like.

    Attributes:
        before: Special tokens in front of the first text.
        between: Those between the two.
        after: Those behind the second.
        boundary: How many of the special tokens in front of the second text are of the first's type; nothing if the
            tokenizer does not tell the two apart.
        max_tokens: Length of a window, special tokens included.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    boundary: int | None
    max_tokens: int

    @property
    def room(self) -> int:
        """Tokens of both texts together that one window takes."""
        return self.max_tokens - len(self.before) - len(self.between) - len(self.after)

    def lay_out(self, first: Body, second: Body, truncate: Truncate) -> tuple[Encoding, ...] | InputTooLong:
        """Return the windows of two texts.

        Args:
            first: Its tokens. Unless it is to be chunked, ``room + 1`` of them are enough.
            second: Likewise.
            truncate: What to do if they do not fit: cut the longer one, as transformers does (``longest_first``),
                refuse them, or show the longer one in parts, each with all of the other.
        """
        is_over = len(first) + len(second) > self.room
        if is_over and truncate == "error":
            return InputTooLong(
                f"the two texts have more than {self.max_tokens} tokens, which is the model's window; send less, or set"
                " truncate to 'truncate' or 'chunk'"
            )
        if is_over and truncate == "chunk":
            return self._chunk(first, second)
        own, other = self._share(len(first), len(second)) if is_over else (len(first), len(second))
        return (self._window(first.cut(0, own), second.cut(0, other), own + other, truncated=is_over),)

    def _chunk(self, first: Body, second: Body) -> tuple[Encoding, ...]:
        is_first_whole = len(first) <= len(second)
        shorter, longer = (first, second) if is_first_whole else (second, first)
        whole = shorter.cut(0, self.room // _WHOLE_SHARE)
        is_cut = len(whole) < len(shorter)
        room = self.room - len(whole)
        overlap = room // OVERLAP
        windows = []
        for start in range(0, len(longer) - overlap, room - overlap):
            part = longer.cut(start, start + room)
            weight = len(part) - overlap if start else len(part) + len(whole)
            both = (whole, part) if is_first_whole else (part, whole)
            windows.append(self._window(*both, weight, truncated=is_cut))
        return tuple(windows)

    def _share(self, first: int, second: int) -> tuple[int, int]:
        """Return how much of each is kept: all of the shorter one if it takes at most half.

        Of two that are both over the window, only beginnings were tokenized, and which is longer is not known: then one
        token more or less may be kept of each than transformers keeps.
        """
        shorter = min(first, second)
        kept = shorter if 2 * shorter <= self.room else self.room // 2
        return (kept, self.room - kept) if first <= second else (self.room - kept, kept)

    def _window(self, first: Body, second: Body, weight: int, *, truncated: bool) -> Encoding:
        ids = array("i", (*self.before, *first.ids, *self.between, *second.ids, *self.after))
        boundary = None if self.boundary is None else self.boundary + len(first)
        ahead = len(self.before) + len(first) + len(self.between)
        spans = None if second.spans is None else frame_spans(ahead, second.spans, len(self.after))
        return Encoding(ids=ids, weight=weight, truncated=truncated, boundary=boundary, spans=spans)
