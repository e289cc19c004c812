"""What a ``tokenizer.json`` may be made of, told from the file before any library reads it.

A tokenizer is a small program of steps. Only steps that are known are let in, and only expressions that surely end; and
it must not give a token that the model has no row for.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.errors import SourceInvalid, SourceUnsafe
from headrace.models.regexes import is_bounded

_DEPTH: Final = 8  # sequences within sequences; those in use have two
_PARTS: Final[Mapping[str, str]] = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
"""The steps, and what the parts of a sequence of them are called."""

_NORMALIZERS: Final = """
    BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence Strip StripAccents
"""
_PRE_TOKENIZERS: Final = """
    BertPreTokenizer ByteLevel CharDelimiterSplit Digits FixedLength Metaspace Punctuation Sequence Split UnicodeScripts
    Whitespace WhitespaceSplit
"""
_DECODERS: Final = "BPEDecoder ByteFallback ByteLevel CTC Fuse Metaspace Replace Sequence Strip WordPiece"
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "normalizer": frozenset(_NORMALIZERS.split()),
    "pre_tokenizer": frozenset(_PRE_TOKENIZERS.split()),
    "model": frozenset({"BPE", "Unigram", "WordLevel", "WordPiece"}),
    "post_processor": frozenset({"BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"}),
    "decoder": frozenset(_DECODERS.split()),
}


def check_tokenizer(content: Mapping[str, Any], name: str, rows: int | None) -> None:
    """Look at a tokenizer's steps and its vocabulary.

    Args:
        content: Of the file.
        name: Of the file, for the messages.
        rows: Tokens that the model has a row for, if its configuration says so.

    Raises:
        SourceUnsafe: An expression in it may take for ever.
        SourceInvalid: It has a step that no tokenizer has, or a token that the model does not have.
    """
    for part, parts in _PARTS.items():
        for step in _steps(content.get(part), parts, name):
            _check_step(part, step, name)
    model = content.get("model")
    if isinstance(model, dict):
        _check_kind("model", model, name)
        _check_ids(_ids(model, content.get("added_tokens")), name, rows)


def _steps(step: Any, parts: str, name: str, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield a step, and those that it is a sequence of."""
    if step is None:
        return
    if not isinstance(step, dict) or depth > _DEPTH:
        raise SourceInvalid(f"{name} has a step that is none, or too many within each other", field=name)
    yield step
    inner = step.get(parts, [])
    for each in inner if isinstance(inner, list) else [inner]:
        yield from _steps(each, parts, name, depth + 1)


def _check_step(part: str, step: Mapping[str, Any], name: str) -> None:
    _check_kind(part, step, name)
    pattern = step.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    if regex is not None and not (isinstance(regex, str) and is_bounded(regex)):
        raise SourceUnsafe(
            f"{name} has the expression {str(regex)[:80]!r}, which may take for ever on some texts; write it without"
            " a repetition within another, and with one in each alternative",
            field=name,
        )


def _check_kind(part: str, step: Mapping[str, Any], name: str) -> None:
    kind = step.get("type")
    is_known = isinstance(kind, str) and kind in _KINDS[part]
    if not is_known and kind is not None:  # files of before 2020 leave out that of the model
        raise SourceInvalid(f"{name} has the {part} {str(kind)[:80]!r}, which no tokenizer has", field=name)


def _ids(model: Mapping[str, Any], added: Any) -> Iterator[Any]:
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        yield from vocabulary.values()
    elif isinstance(vocabulary, list):
        yield from range(len(vocabulary))
    yield from (token.get("id") for token in added or () if isinstance(token, dict))


def _check_ids(ids: Iterator[Any], name: str, rows: int | None) -> None:
    for number in ids:
        if type(number) is not int or number < 0 or (rows is not None and number >= rows):
            known = f"; the model has {rows:,}" if rows is not None else ""
            raise SourceInvalid(
                f"{name} gives a token the id {str(number)[:20]}{known}; the files do not belong together", field=name
            )
