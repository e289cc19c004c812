"""The tokenizer: the ``tokenizers`` library behind the engine's port."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import Encoding, IntArray, unicode_error
from headrace.engine.pairs import PairLayout
from headrace.engine.prefix import find_cut, may_cut
from headrace.engine.windows import Body, WindowLayout
from headrace.errors import HeadraceError, ModelCorrupt, RequestInvalid
from headrace.models.manifest import Words
from headrace.options import Truncate
from headrace.settings import instruct_libraries
from headrace.types import Text, parts_of

instruct_libraries()
import tokenizers  # noqa: E402 - after the environment says how it is to work

# Of a text that is to be cut, so much is tokenized at first for each token of the window, then twice that. English has
# 4 to 5 characters for a token, other languages less.
_CHARS_PER_TOKEN: Final = 6
_WORD: Final = "x"
# Of a text. The answer to one that is nothing but masks would be 200 times as long as an embedding.
_MOST_MASKS: Final = 16


class FastTokenizer:
    """A ``tokenizer.json``, cut to the model's window.

    The library only makes tokens of text: it cuts after it has tokenized everything, and that is a setting of the
    object, not of the call. So the window and its special tokens are laid out here.

    Args:
        path: The ``tokenizer.json``.
        max_tokens: The window, special tokens included.
        words: What counts as a word where it is said which word of its text each token is in, and where; nothing if
            nobody needs to know.
        mask: The token that stands for a word, if the model finds words: only windows that have one are asked for.

    Raises:
        ModelCorrupt: The file is no tokenizer, none for this window, or has no such mask.
    """

    def __init__(self, path: Path, max_tokens: int, words: Words | None = None, mask: str | None = None) -> None:
        self._tokenizer = _load(path)
        self._mask = None if mask is None else _find_mask(self._tokenizer, path, mask)
        self._has_spans = words is not None
        marks_subwords = bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))
        self._has_words = words == "tokenizer" or marks_subwords
        before, after = _special_tokens(self._tokenizer, path)
        self._layout = WindowLayout(before, after, max_tokens)
        self._pair_layout = _read_pair(self._tokenizer, max_tokens)
        if self._layout.room < 1:
            raise ModelCorrupt(f"a window of {max_tokens} tokens has no room for a text with {path}; import it again")
        added = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._may_cut = may_cut(_describe(self._tokenizer.normalizer), _describe(self._tokenizer.pre_tokenizer), added)

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        """Return the windows of each text, or ``InputTooLong`` for one over the window that may not be cut.

        For two texts there is an error as well if the tokenizer knows of no pairs.
        """
        errors = [unicode_error(text) for text in texts]
        sound = [part for text, error in zip(texts, errors, strict=True) if error is None for part in parts_of(text)]
        is_cut = truncate != "chunk" and self._may_cut
        bodies = iter(self._fill(sound) if is_cut else self._tokenize(sound))
        return [
            error or self._lay_out([next(bodies) for _ in parts_of(text)], truncate)
            for text, error in zip(texts, errors, strict=True)
        ]

    def _lay_out(self, bodies: Sequence[Body], truncate: Truncate) -> tuple[Encoding, ...] | HeadraceError:
        if len(bodies) == 1:
            windows = self._layout.lay_out(bodies[0], truncate)
            return (
                windows if self._mask is None or isinstance(windows, HeadraceError) else self._mark(windows, bodies[0])
            )
        if self._pair_layout is None:
            return RequestInvalid("this model reads one text at a time; name a model that compares two")
        return self._pair_layout.lay_out(bodies[0], bodies[1], truncate)

    def _mark(self, windows: tuple[Encoding, ...], body: Body) -> tuple[Encoding, ...] | RequestInvalid:
        """Return the windows that have masks, and say where; the first one if none has."""
        if (masks := sum(token == self._mask for token in body.ids)) > _MOST_MASKS:
            return RequestInvalid(f"the text has {masks} masks; words are found for {_MOST_MASKS}, so send it in parts")
        places = [np.flatnonzero(np.asarray(window.ids) == self._mask) for window in windows]
        marked = [replace(window, masks=found) for window, found in zip(windows, places, strict=True)]
        return tuple(window for window, found in zip(marked, places, strict=True) if len(found)) or (marked[0],)

    def _fill(self, texts: Sequence[str]) -> list[Body]:
        """Return the first tokens of each text: all of them, or more than the window takes."""
        ends = [find_cut(text, self._layout.room * _CHARS_PER_TOKEN) for text in texts]
        bodies = self._tokenize([text[:end] for text, end in zip(texts, ends, strict=True)])
        for index, (text, end) in enumerate(zip(texts, ends, strict=True)):
            while len(bodies[index]) <= self._layout.room and end < len(text):
                end = find_cut(text, 2 * end)  # noqa: PLW2901 - it grows until it is enough
                bodies[index] = self._tokenize([text[:end]])[0]
        return bodies

    def _tokenize(self, texts: list[str]) -> list[Body]:
        if not self._has_spans:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            return [Body(encoding.ids) for encoding in encodings]
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            Body(encoding.ids, self._locate(text, encoding)) for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _locate(self, text: str, encoding: tokenizers.Encoding) -> NDArray[np.int32]:
        """Return where each token is, and the number of its word; shape ``(s, 3)``.

        If spaces make words, a token that begins right after a character that is no space goes on with the word
        before; but a tokenizer that marks the parts of a word knows its words. So does transformers' pipeline.
        """
        offsets, words = encoding.offsets, encoding.word_ids
        if not self._has_words:
            begins = [int(start == 0 or " " in text[start - 1 : start + 1]) for start, _ in offsets]
            words = [*itertools.accumulate(begins)]
        rows = [(start, end, word or 0) for (start, end), word in zip(offsets, words, strict=True)]
        return np.array(rows, dtype=np.int32).reshape(-1, 3)


class Spelling:
    """How a model's tokens are written.

    Args:
        path: The ``tokenizer.json``.
        mask: The token that stands for a word.

    Attributes:
        mask: Its id.

    Raises:
        ModelCorrupt: The file is no tokenizer, or has no such mask.
    """

    def __init__(self, path: Path, mask: str) -> None:
        self._tokenizer = _load(path)
        self._known: dict[int, bytes] = {}  # a token takes 2 us, and a mask has dozens of them
        self.mask = _find_mask(self._tokenizer, path, mask)

    def spell(self, ids: IntArray) -> NDArray[np.uint8]:
        """Return how tokens are written, in UTF-8 with zeros after it; there is one axis more than of the ids."""
        spelled = [self._spell(token) for token in ids.ravel().tolist()]
        width = max(map(len, spelled), default=1) or 1
        joined = b"".join(each.ljust(width, b"\0") for each in spelled)
        return np.frombuffer(joined, np.uint8).reshape(*ids.shape, width)

    def _spell(self, token: int) -> bytes:
        if token not in self._known:
            text = self._tokenizer.decode([token], skip_special_tokens=False)
            self._known[token] = text.encode()
        return self._known[token]


def _find_mask(tokenizer: tokenizers.Tokenizer, path: Path, mask: str) -> int:
    found: int | None = tokenizer.token_to_id(mask)
    if found is None:
        raise ModelCorrupt(f"{path} has no token {mask!r}; import the model again")
    return found


def _load(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for a bad file
        raise ModelCorrupt(f"{path} is no tokenizer: import the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _probe(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer of a single word with the same last step: what it puts around that word is what it puts."""
    probe = tokenizers.Tokenizer(tokenizers.models.WordLevel({_WORD: 0}))
    if tokenizer.post_processor is not None:
        probe.post_processor = tokenizer.post_processor
    return probe


def _special_tokens(tokenizer: tokenizers.Tokenizer, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what a tokenizer puts before and after a text."""
    encoding = _probe(tokenizer).encode(_WORD)
    if encoding.special_tokens_mask.count(0) != 1:
        raise ModelCorrupt(f"{path} puts its special tokens elsewhere than around a text; use another model")
    place = encoding.special_tokens_mask.index(0)
    return tuple(encoding.ids[:place]), tuple(encoding.ids[place + 1 :])


def _read_pair(tokenizer: tokenizers.Tokenizer, max_tokens: int) -> PairLayout | None:
    """Return what a tokenizer puts around two texts; nothing if it does not keep them apart."""
    encoding = _probe(tokenizer).encode(_WORD, _WORD)
    places = [place for place, is_special in enumerate(encoding.special_tokens_mask) if not is_special]
    types = encoding.type_ids
    if len(places) != 2 or sorted(types) != types:  # noqa: PLR2004 - the two texts
        return None
    first, second = places
    layout = PairLayout(
        before=tuple(encoding.ids[:first]),
        between=tuple(encoding.ids[first + 1 : second]),
        after=tuple(encoding.ids[second + 1 :]),
        boundary=types.index(1) - 1 if 1 in types else None,
        max_tokens=max_tokens,
    )
    return layout if layout.between and layout.room > 1 else None


def _describe(step: Any) -> dict[str, Any] | None:
    """Return a step of the tokenizer as its file has it: the only way to read all of its options."""
    return None if step is None else dict(json.loads(step.__getstate__()))
