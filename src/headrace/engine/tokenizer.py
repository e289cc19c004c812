"""The tokenizer: the ``tokenizers`` library behind the engine's port."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from headrace.engine.base import Encoding, unicode_error
from headrace.engine.prefix import find_cut, may_cut
from headrace.engine.windows import WindowLayout
from headrace.errors import HeadraceError, ModelCorrupt
from headrace.settings import instruct_libraries
from headrace.types import Truncate

instruct_libraries()
import tokenizers  # noqa: E402 - after the environment says how it is to work

# Of a text that is to be cut, so much is tokenized at first for each token of the window, then twice that. English has
# 4 to 5 characters for a token, other languages less.
_CHARS_PER_TOKEN: Final = 6


class FastTokenizer:
    """A ``tokenizer.json``, cut to the model's window.

    The library only makes tokens of text: it cuts after it has tokenized everything, and that is a setting of the
    object, not of the call. So the window and its special tokens are laid out here.

    Args:
        path: The ``tokenizer.json``.
        max_tokens: The window, special tokens included.

    Raises:
        ModelCorrupt: The file is no tokenizer, or none for this window.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = _load(path)
        before, after = _special_tokens(self._tokenizer, path)
        self._layout = WindowLayout(before, after, max_tokens)
        if self._layout.room < 1:
            raise ModelCorrupt(f"a window of {max_tokens} tokens has no room for a text with {path}; import it again")
        added = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._may_cut = may_cut(_describe(self._tokenizer.normalizer), _describe(self._tokenizer.pre_tokenizer), added)

    def encode(self, texts: Sequence[str], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        """Return the windows of each text, or ``InputTooLong`` for one over the window that may not be cut."""
        errors = [unicode_error(text) for text in texts]
        sound = [text for text, error in zip(texts, errors, strict=True) if error is None]
        is_cut = truncate != "chunk" and self._may_cut
        bodies = iter(self._fill(sound) if is_cut else self._tokenize(sound))
        return [error or self._layout.lay_out(next(bodies), truncate) for error in errors]

    def _fill(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the first tokens of each text: all of them, or more than the window takes."""
        ends = [find_cut(text, self._layout.room * _CHARS_PER_TOKEN) for text in texts]
        bodies = self._tokenize([text[:end] for text, end in zip(texts, ends, strict=True)])
        for index, (text, end) in enumerate(zip(texts, ends, strict=True)):
            while len(bodies[index]) <= self._layout.room and end < len(text):
                end = find_cut(text, 2 * end)  # noqa: PLW2901 - it grows until it is enough
                bodies[index] = self._tokenize([text[:end]])[0]
        return bodies

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _load(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for a bad file
        raise ModelCorrupt(f"{path} is no tokenizer: import the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _special_tokens(tokenizer: tokenizers.Tokenizer, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what a tokenizer puts before and after a text.

    A tokenizer of a single word is given the same last step, and what it puts around that word is the answer.
    """
    probe = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": 0}))
    if tokenizer.post_processor is not None:
        probe.post_processor = tokenizer.post_processor
    encoding = probe.encode("x")
    if encoding.special_tokens_mask.count(0) != 1:
        raise ModelCorrupt(f"{path} puts its special tokens elsewhere than around a text; use another model")
    place = encoding.special_tokens_mask.index(0)
    return tuple(encoding.ids[:place]), tuple(encoding.ids[place + 1 :])


def _describe(step: Any) -> dict[str, Any] | None:
    """Return a step of the tokenizer as its file has it: the only way to read all of its options."""
    return None if step is None else dict(json.loads(step.__getstate__()))
