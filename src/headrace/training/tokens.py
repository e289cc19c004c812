"""Texts as the numbers that a model reads, tokenized once before the first step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from headrace.errors import SourceInvalid
from headrace.models.checkpoint import TOKENIZER, Checkpoint
from headrace.training.batches import Rows
from headrace.types import Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_AT_ONCE = 1024  # texts given to the tokenizer's threads


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Texts as token ids, each as long as it is: padding is added to batches, where it is little.

    Attributes:
        ids: Of each text, shape ``(s,)``, int32.
        types: Which of two texts each token is of, of the same shapes; nothing where the model does not ask.
        spans: First character of each token and the one after its last, shape ``(s, 2)``; of a special token 0 and 0.
    """

    ids: tuple[NDArray[np.int32], ...]
    types: tuple[NDArray[np.int32], ...] | None
    spans: tuple[NDArray[np.int32], ...]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]

    def inputs(self, rows: Rows, model: "PreTrainedModel") -> dict[str, Tensor]:
        """Return a batch as a model of transformers takes it, on its device, each of shape ``(n, s)``, int64."""
        ids = _padded([self.ids[row] for row in rows], model.config.pad_token_id or 0)
        mask = _padded([np.ones(len(self.ids[row]), np.int32) for row in rows], 0)
        batch = {"input_ids": ids, "attention_mask": mask}
        if self.types is not None:
            batch["token_type_ids"] = _padded([self.types[row] for row in rows], 0)
        return {name: tensor.to(model.device) for name, tensor in batch.items()}


class TextTokenizer:
    """A checkpoint's tokenizer, without its own truncation and padding."""

    def __init__(self, checkpoint: Checkpoint, max_tokens: int | None, say: Callable[[str], None]) -> None:
        """Read ``tokenizer.json``.

        Args:
            checkpoint: Where it is.
            max_tokens: Where texts are cut; ``None`` is the window.
            say: Hears how many are.

        Raises:
            SourceInvalid: The tokenizers library cannot read it, or it gives ids that the model does not have.
        """
        self._tokenizer = _load(checkpoint.folder / TOKENIZER)
        self._tokenizer.no_padding()
        self._max_tokens = min(max_tokens or checkpoint.max_tokens, checkpoint.max_tokens)
        self._tokenizer.enable_truncation(self._max_tokens)
        self._say = say
        highest, known = max(self._tokenizer.get_vocab().values(), default=-1), checkpoint.config.get("vocab_size")
        if isinstance(known, int) and highest >= known:
            raise SourceInvalid(
                f"{TOKENIZER} gives ids up to {highest}, and the model has {known}; they do not belong together",
                field=TOKENIZER,
            )

    def tokenize(self, texts: Sequence[Text], *, with_types: bool = False) -> Tokenized:
        """Tokenize texts, or pairs of them; what is over the window is cut, of a pair from the longer one.

        Args:
            texts: To be tokenized.
            with_types: Whether the model is told which of two texts a token is of.
        """
        encodings: list[Encoding] = []
        for begin in range(0, len(texts), _AT_ONCE):
            encodings += self._tokenizer.encode_batch(list(texts[begin : begin + _AT_ONCE]))
        if cut := sum(bool(each.overflowing) for each in encodings):
            self._say(f"{cut:,} of {len(texts):,} texts are longer than {self._max_tokens} tokens, and are cut there")
        return Tokenized(
            ids=tuple(np.asarray(each.ids, np.int32) for each in encodings),
            types=tuple(np.asarray(each.type_ids, np.int32) for each in encodings) if with_types else None,
            spans=tuple(np.asarray(each.offsets, np.int32).reshape(-1, 2) for each in encodings),
        )


def _load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise SourceInvalid(
            f"{path.name} is none that the tokenizers library reads; save it anew", field=TOKENIZER
        ) from error


def _padded(rows: Sequence[NDArray[np.int32]], value: int) -> Tensor:
    length = max(len(row) for row in rows)
    batch = np.full((len(rows), length), value, np.int64)
    for place, row in enumerate(rows):
        batch[place, : len(row)] = row
    return torch.from_numpy(batch)
