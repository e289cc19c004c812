"""Where a long text may be cut so that its beginning is tokenized as if all of it were there.

To fill a window of 512 tokens, a book need not be tokenized. But the tokens of a beginning are the first tokens of the
whole only if nothing looks across the cut. So a cut is made at a single space between two plain characters, and only
for tokenizers all of whose steps are known to end there:

- the pre-tokenizer splits at spaces, so that no piece that becomes tokens reaches over one
- the normalizer keeps spaces, and looks no further than at neighbouring characters that combine
- no added token, which is found before anything is split, has a space inside

What is not known here counts as unsafe, and then the whole text is tokenized: that is slower, never wrong.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

Step = Mapping[str, Any]
"""A step of a tokenizer as ``tokenizer.json`` has it: its ``type``, and its options."""

_LOCAL_NORMALIZERS: Final = frozenset(
    {
        "BertNormalizer",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Precompiled",  # SentencePiece's table of characters and of what stands for them
        "Strip",
        "StripAccents",
    }
)
_SPLITTERS: Final = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
_MANY_SPACES: Final = " {2,}"  # what SentencePiece makes one of; at a cut there is only one
# Letters with case, and decimal digits: no normal form makes a space of them or lets them vanish. Other letters have
# forms that do, such as U+FC5E, so texts in their scripts are cut where ASCII punctuation stands.
_PLAIN_CATEGORIES: Final = frozenset({"Lu", "Ll", "Nd"})


def may_cut(normalizer: Step | None, pre_tokenizer: Step | None, added: Iterable[str]) -> bool:
    """Whether a tokenizer can be given a beginning.

    Args:
        normalizer: The first of its steps, if it has any.
        pre_tokenizer: The second, if it has any.
        added: The tokens that were added to its model.
    """
    is_any_split = any(char.isspace() for token in added for char in token.lstrip())
    return not is_any_split and _is_local(normalizer) and _splits_at_spaces(pre_tokenizer)


def find_cut(text: str, min_chars: int) -> int:
    """Return the length of the shortest beginning of at least so many characters; all of the text if it has no cut."""
    space = text.find(" ", min_chars)
    while space != -1 and not _is_plain(text[space - 1 : space] + text[space + 1 : space + 2]):
        space = text.find(" ", space + 1)
    return len(text) if space == -1 else space


def _is_plain(neighbours: str) -> bool:
    return len(neighbours) == 2 and all(  # noqa: PLR2004 - one on each side
        "!" <= char <= "~" or unicodedata.category(char) in _PLAIN_CATEGORIES for char in neighbours
    )


def _is_local(normalizer: Step | None) -> bool:
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(_is_local(step) for step in normalizer["normalizers"])
    if normalizer["type"] == "Replace":
        pattern, content = normalizer["pattern"], normalizer["content"]
        is_plain = content and not any(char.isspace() for char in pattern.get("String", " ") + content)
        return bool(is_plain) or pattern.get("Regex") == _MANY_SPACES
    return normalizer["type"] in _LOCAL_NORMALIZERS


def _splits_at_spaces(pre_tokenizer: Step | None) -> bool:
    match pre_tokenizer:
        case {"type": "Sequence", "pretokenizers": [first, *_]}:
            return _splits_at_spaces(first)  # the steps behind it see the pieces it has made
        case {"type": "ByteLevel", "use_regex": True} | {"type": "Metaspace", "split": True}:
            return True
        case {"type": kind}:
            return kind in _SPLITTERS
    return False
