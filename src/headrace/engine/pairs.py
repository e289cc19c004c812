"""How the tokens of two texts fill the model's window together."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.engine.base import Encoding
from headrace.engine.windows import OVERLAP
from headrace.errors import InputTooLong
from headrace.types import Truncate

# In several windows the first text is in each of them; it may take half, or little of the second would be left.
_FIRST_SHARE: Final = 2


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

    def lay_out(
        self, first: Sequence[int], second: Sequence[int], truncate: Truncate
    ) -> tuple[Encoding, ...] | InputTooLong:
        """Return the windows of two texts.

        Args:
            first: Token ids without special tokens; ``room + 1`` of them are enough.
            second: Likewise, but all of them if they are to be chunked.
            truncate: What to do if they do not fit: cut the longer one, as transformers does (``longest_first``),
                refuse them, or show the second in parts, each with all of the first.
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
        return (self._window(first[:own], second[:other], own + other, truncated=is_over),)

    def _chunk(self, first: Sequence[int], second: Sequence[int]) -> tuple[Encoding, ...]:
        is_cut = len(first) > self.room // _FIRST_SHARE
        first = first[: self.room // _FIRST_SHARE]
        room = self.room - len(first)
        overlap = room // OVERLAP
        starts = range(0, max(1, len(second) - overlap), room - overlap)
        parts = [(second[start : start + room], overlap if start else 0) for start in starts]
        return tuple(
            self._window(first, part, len(part) - repeated + (0 if number else len(first)), truncated=is_cut)
            for number, (part, repeated) in enumerate(parts)
        )

    def _share(self, first: int, second: int) -> tuple[int, int]:
        """Return how much of each is kept: all of the shorter one if it takes at most half.

        Of two that are both over the window, only beginnings were tokenized, and which is longer is not known: then one
        token more or less may be kept of each than transformers keeps.
        """
        shorter = min(first, second)
        kept = shorter if 2 * shorter <= self.room else self.room // 2
        return (kept, self.room - kept) if first <= second else (self.room - kept, kept)

    def _window(self, first: Sequence[int], second: Sequence[int], weight: int, *, truncated: bool) -> Encoding:
        ids = array("i", (*self.before, *first, *self.between, *second, *self.after))
        boundary = None if self.boundary is None else self.boundary + len(first)
        return Encoding(ids=ids, weight=weight, truncated=truncated, boundary=boundary)
