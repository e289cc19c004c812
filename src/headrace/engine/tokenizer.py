"""The tokenizer: the ``tokenizers`` library behind the engine's port."""

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from headrace.engine.base import Encoding, unicode_error
from headrace.errors import HeadraceError, InputTooLong, ModelCorrupt
from headrace.types import Truncate


class FastTokenizer:
    """A ``tokenizer.json``, cut to the model's window.

    Two copies are kept because truncation is a setting of the object, not of the call, and a call must not
    change what another thread's call does.

    Args:
        path: The ``tokenizer.json``.
        max_tokens: The window, special tokens included.

    Raises:
        ModelCorrupt: The file is no tokenizer.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._whole = _load(path)
        self._cut = _load(path)
        self._cut.enable_truncation(max_length=max_tokens)

    def encode(self, texts: Sequence[str], truncate: Truncate) -> list[Encoding | HeadraceError]:
        """Return one encoding for each text, or ``InputTooLong`` for a text over the window."""
        tokenizer = self._cut if truncate == "truncate" else self._whole
        try:
            encodings = tokenizer.encode_batch_fast(list(texts))
        except TypeError:  # a lone surrogate is no text; it must not fail its neighbours
            return [self._encode_alone(text, truncate) for text in texts]
        return [self._convert(encoding) for encoding in encodings]

    def _encode_alone(self, text: str, truncate: Truncate) -> Encoding | HeadraceError:
        return unicode_error(text) or self.encode([text], truncate)[0]

    def _convert(self, encoding: tokenizers.Encoding) -> Encoding | HeadraceError:
        if len(encoding.ids) > self._max_tokens:
            return InputTooLong(
                f"the text has {len(encoding.ids)} tokens and the model's window has {self._max_tokens}; "
                "send less, or set truncate to 'truncate'"
            )
        return Encoding(ids=encoding.ids, truncated=bool(encoding.overflowing))


def _load(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for a bad file
        raise ModelCorrupt(f"{path} is no tokenizer: import the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
