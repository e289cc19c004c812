"""The texts that speed is measured with: of the lengths that users send, not of their words.

The lengths are those of tweets, reviews, questions, e-mails and news in the shares 25, 25, 20, 20 and 10 %, which is
the mix of ``bench/texts.py``: half have fewer than 38 tokens, one in twenty has more than 256.
"""

import itertools
from typing import Final

# The 20 quantiles of that mix in tokens, all-MiniLM-L6-v2's tokenizer, special tokens included.
_LENGTHS: Final = (6, 9, 12, 15, 18, 21, 25, 29, 33, 38, 43, 49, 56, 65, 76, 91, 112, 147, 215, 320)
# Words that common vocabularies have whole.
_WORDS: Final = (
    "the",
    "river",
    "turns",
    "an",
    "old",
    "wheel",
    "and",
    "mill",
    "stands",
    "at",
    "water",
    "level",
    "where",
)
_SPECIAL_TOKENS: Final = 2
SHORT_TEXT: Final = "The river turns an old wheel."


def make_texts(count: int) -> tuple[str, ...]:
    """Return texts of mixed lengths, all different, the same ones each time."""
    words = itertools.cycle(_WORDS)
    # 7 and 20 have no common divisor: each run of 20 texts has every length, long ones among short ones.
    lengths = (_LENGTHS[index * 7 % len(_LENGTHS)] for index in range(count))
    return tuple(" ".join(next(words) for _ in range(length - _SPECIAL_TOKENS)) for length in lengths)
