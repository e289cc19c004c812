import sys
import unicodedata
from typing import Any

import pytest

from headrace.engine.prefix import _is_plain, find_cut, may_cut

SPLITTER = {"type": "WhitespaceSplit"}


def replace(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(kind: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(steps)}


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "BertNormalizer"},
        {"type": "Precompiled"},
        replace('"', String="``"),
        replace(" ", Regex=" {2,}"),
        sequence("normalizers"),
        sequence("normalizers", {"type": "NFKC"}, replace("\u2581", Regex=" {2,}"), {"type": "Strip"}),
    ],
)
def test_normalizers_that_look_at_neighbours_only_let_a_text_be_cut(normalizer: dict[str, Any] | None):
    assert may_cut(normalizer, SPLITTER, ())


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Prepend", "prepend": "x"},
        {"type": "MadeUp"},
        replace("x", String=" "),
        replace("", String="a"),
        replace(" ", String="_"),
        replace("x", Regex="a b"),
        replace("", Regex="\\s+$"),
        sequence("normalizers", {"type": "NFKC"}, {"type": "MadeUp"}),
    ],
)
def test_normalizers_that_may_do_something_to_spaces_do_not(normalizer: dict[str, Any]):
    assert not may_cut(normalizer, SPLITTER, ())


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        SPLITTER,
        {"type": "BertPreTokenizer"},
        {"type": "ByteLevel", "use_regex": True},
        {"type": "Metaspace", "split": True},
        sequence("pretokenizers", SPLITTER, {"type": "Metaspace", "split": False}),
    ],
)
def test_pre_tokenizers_that_split_at_spaces_let_a_text_be_cut(pre_tokenizer: dict[str, Any]):
    assert may_cut(None, pre_tokenizer, ("[CLS]", "  ", " x"))


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        None,
        {"type": "ByteLevel", "use_regex": False},
        {"type": "Metaspace", "split": False},
        {"type": "Split", "pattern": {"Regex": "\\w+"}},
        sequence("pretokenizers"),
        sequence("pretokenizers", {"type": "Digits"}, SPLITTER),
    ],
)
def test_pre_tokenizers_that_are_not_known_to_split_there_do_not(pre_tokenizer: dict[str, Any] | None):
    assert not may_cut(None, pre_tokenizer, ())


@pytest.mark.parametrize("token", ["New York", "x ", "a\u00a0b", " x y"])
def test_a_token_with_a_space_inside_could_lie_across_a_cut(token: str):
    assert not may_cut(None, SPLITTER, ("[CLS]", token))


@pytest.mark.parametrize(
    ("text", "min_chars", "cut"),
    [
        ("one two three", 1, 3),
        ("one two three", 3, 3),
        ("one two three", 4, 7),
        ("one two three", 8, 13),
        ("one two three", 99, 13),
        ("one  two three", 1, 8),  # two spaces
        ("one \u0301two three", 1, 8),  # a space that an accent stands on
        ("one\n two three", 1, 8),
        ("один два", 1, 4),
        ("水 水, x y", 1, 4),  # letters without case have odd forms
        ("水 水", 1, 3),
        ("one ", 1, 4),
        (" one", 1, 4),
        ("", 1, 0),
    ],
)
def test_a_cut_is_at_a_single_space_between_plain_characters(text: str, min_chars: int, cut: int):
    assert find_cut(text, min_chars) == cut


def test_no_form_of_a_plain_character_vanishes_or_has_a_space_at_an_end():
    plain = [char for char in map(chr, range(sys.maxunicode + 1)) if _is_plain(char + char)]
    assert len(plain) > 4000
    for char in plain:
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            left = [one for one in unicodedata.normalize(form, char) if not unicodedata.category(one).startswith("M")]
            assert left
            assert not left[0].isspace()
            assert not left[-1].isspace()
