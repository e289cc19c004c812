import re

import pytest

from headrace.models.regexes import MAX_LENGTH, is_bounded

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    "pattern",
    [
        " {2,}",
        r"\s+",
        r"[\r\n]",
        r"\p{L}+|\p{N}",
        r"[^\s\p{L}]+|x{2,5}y?",
        r"(?:ab|cd)e*",
        "(a*)?b",
        r"(?i:'s|'t)|\d{1,3}",
        r"a++|b*?|c?+",
        r"(?<=a)b+(?!c)",
        r"[]a]+",
        r"[^]]+",
        r"\(\+\)\*",
        "",
        GPT_2,
    ],
)
def test_what_surely_ends_is_let_in(pattern: str):
    assert is_bounded(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|a)*",
        "(?:a|a)+b",
        "(.*)*x",
        "(a{1,9}){1,9}",
        ".*.*x",
        r"\s*[\r\n]+",  # known as a part of others, whose time grows with the square
        "a+(?:b+|c)",
        "(?=(a+))+",
        r"(a)\1",
        r"(?<n>a)\k<n>",
        "(?P<n>a)",
        "(?(1)a|b)",
        "(?#note)",
        "[a[b]]",
        "[a&&[^b]]+",
        "(a",
        "a)",
        "[a",
        "*a",
        "a|+",
        "a{,}",
        "a{1,2",
        "\\",
        "a" * (MAX_LENGTH + 1),
        GPT_2 + "|(a+)+",
    ],
)
def test_what_may_not_end_or_is_not_understood_is_refused(pattern: str):
    assert not is_bounded(pattern)


def test_the_check_itself_ends():
    for pattern in ("(" * MAX_LENGTH, "[" * MAX_LENGTH, "[^" * 500, "\\" * 999, "a{" * 500, "[" + "\\]" * 499):
        assert not is_bounded(pattern)


def test_the_dangerous_ones_are():
    """A negative control: what is refused takes exponentially longer, in Python's engine as well."""
    assert re.fullmatch("(a+)+", "a" * 20)
    assert not is_bounded("(a+)+$")
