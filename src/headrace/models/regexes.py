"""Regular expressions of tokenizers that cannot take for ever.

Tokenizers run them in Oniguruma, which tries every way to match: ``(a+)+`` takes twice as long with each further
character, and no limit of the library ends it (huggingface/tokenizers#2060). So an expression is let in if it is known,
or so simple that it surely ends: nothing that is repeated without a bound is within something that is repeated, and no
alternative has more than one such repetition.
"""

import re
from collections.abc import Mapping
from typing import Final

MAX_LENGTH: Final = 1000
"""Characters of an expression; those of the tokenizers that are in use have 200."""

# Those of Llama 3 and Qwen 2, word for word.
_KNOWN: Final = frozenset(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)
_UNIT: Final = re.compile(
    r"""
    (?P<reference> \\ [1-9kg] )
    | (?P<item> \\ [pP] \{ \^? \w+ \} | \\ [^\n] | \[ \^? \]? (?: \\. | [^\]\\[] )* \] | [^\\[\](){}*+?|] )
    | (?P<open> \( (?: \? (?: : | i: | = | ! | <= | <! ) )? (?! \? ) )
    | (?P<close> \) )
    | (?P<unbounded> [*+] [?+]? | \{ \d+ , \} [?+]? )
    | (?P<bounded> \{ \d+ (?: , \d+ )? \} [?+]? )
    | (?P<optional> \? [?+]? )
    | (?P<or> \| )
    """,
    re.VERBOSE | re.DOTALL,
)
_AFTER: Final[Mapping[str, frozenset[str]]] = {
    "unbounded": frozenset({"item"}),
    "bounded": frozenset({"item"}),
    "optional": frozenset({"item", "close"}),
}
"""What may be repeated so."""


def is_bounded(pattern: str) -> bool:
    """Whether an expression surely ends in a time that grows with the square of the text at most.

    What is not understood is refused: a class within a class, a group with a name, a reference to what was matched.
    """
    if pattern in _KNOWN:
        return True
    if len(pattern) > MAX_LENGTH:
        return False
    kinds: list[str] = []
    place = 0
    while place < len(pattern):
        found = _UNIT.match(pattern, place)
        if found is None or found.lastgroup is None:
            return False
        kinds.append(found.lastgroup)
        place = found.end()
    return _is_simple(kinds)


def _is_simple(kinds: list[str]) -> bool:
    depth = loops = 0
    for before, kind in zip(["or", *kinds], kinds, strict=False):
        if kind == "reference" or (kind in _AFTER and before not in _AFTER[kind]):
            return False
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            return False
        if kind == "or" and not depth:
            loops = 0
        loops += kind == "unbounded"
        if loops > 1:
            return False
    return not depth
