from typing import Any

import numpy as np
import pytest

from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.tasks.fill import agree, finish, pack, spell, unpack
from headrace.types import Filling, Mask, Traits, Window, Word

TRAITS = Traits(mask="[MASK]")
TEXT = "the [MASK] and the [MASK]"
FIRST, SECOND = (4, 10), (19, 25)


def window(**places: Any) -> Window:
    """Return a window with masks, each with its words: ``at_4=[("mill", 0.5)]``."""
    rows = {int(name.removeprefix("at_")): words for name, words in places.items()}
    ends = dict((FIRST, SECOND))
    width = max((len(word.encode()) for words in rows.values() for word, _ in words), default=1)
    count = max(map(len, rows.values()), default=0)
    spelled = b"".join(word.encode().ljust(width, b"\0") for words in rows.values() for word, _ in words)
    arrays: dict[str, Any] = {
        "token_words": np.frombuffer(spelled, np.uint8).reshape(len(rows), count, width),
        "token_scores": np.array([[score for _, score in words] for words in rows.values()], np.float32),
        "token_states": np.zeros((len(rows), 3), np.float32),
        "spans": np.array([(start, ends[start], 0) for start in rows], np.int32).reshape(-1, 3),
    }
    return Window(arrays=arrays, tokens=8, weight=6)


def fill(*windows: Window, truncated: bool = False, **options: Any) -> Filling:
    return finish(TEXT, windows, truncated, Options(**options), TRAITS)


WORDS = [("mühle", 0.5), (" 水", 0.25), ("##s", 0.125), ("d", 0.0625), ("e", 0.03125), ("f", 0.015625)]


def test_each_mask_gets_the_likeliest_words_in_the_order_of_the_text() -> None:
    found = fill(window(at_19=WORDS[1:], at_4=WORDS[:-1]), top_k=2)
    assert found.masks == (
        Mask(*FIRST, (Word("mühle", 0.5), Word(" 水", 0.25))),
        Mask(*SECOND, (Word(" 水", 0.25), Word("##s", 0.125))),
    )
    assert (found.tokens, found.windows, found.truncated) == (8, 1, False)


def test_five_words_are_told_unless_more_are_asked_for() -> None:
    assert len(fill(window(at_4=WORDS)).masks[0].words) == 5
    assert len(fill(window(at_4=WORDS), top_k=6).masks[0].words) == 6
    assert len(fill(window(at_4=WORDS), top_k=64).masks[0].words) == 6
    assert [word.score for word in fill(window(at_4=WORDS), threshold=0.25).masks[0].words] == [0.5, 0.25]
    assert fill(window(at_4=WORDS), threshold=0.9).masks == (Mask(*FIRST, ()),)


def test_of_several_windows_the_surest_counts_for_each_mask() -> None:
    found = fill(window(at_4=[("a", 0.3)], at_19=[("b", 0.9)]), window(at_4=[("c", 0.8)]), window(at_19=[("d", 0.2)]))
    assert [mask.words[0].text for mask in found.masks] == ["c", "b"]
    assert (found.tokens, found.windows) == (24, 3)


def test_a_text_without_a_mask_is_refused_and_told_what_a_mask_is() -> None:
    with pytest.raises(RequestInvalid, match=r"the text has no \[MASK\]; put one"):
        fill(window())
    with pytest.raises(RequestInvalid, match=r"no \[MASK\] in the part of it that was read"):
        fill(window(), truncated=True)


def test_a_filling_comes_back_from_its_bytes() -> None:
    found = fill(window(at_4=WORDS), window(at_19=[("é", 1 / 3)]), truncated=True, top_k=6)
    assert unpack(pack(found)) == found
    assert spell(found)["masks"][0] == {
        "start": 4,
        "end": 10,
        "words": [{"text": text, "score": score} for text, score in WORDS],
    }


def test_fillings_agree_as_far_as_they_begin_with_the_same_words() -> None:
    one, other = (fill(window(at_4=WORDS[:1], at_19=[(word, 0.5)])) for word in "ab")
    assert (agree(one, one), agree(one, other)) == (1.0, 0.5)
    nothing = fill(window(at_4=WORDS), threshold=0.9)
    assert (agree(nothing, nothing), agree(one, nothing)) == (1.0, 0.0)
