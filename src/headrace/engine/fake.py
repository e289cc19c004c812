"""An engine without a model: deterministic, quick, and able to fail on purpose.

It ships with the product: an application that uses Headrace can test itself without weights.
"""

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import Bell, Encoding, Steps, TokenBatch, in_one_go, unicode_error
from headrace.engine.windows import Body, WindowLayout
from headrace.errors import EngineFailed, HeadraceError
from headrace.options import Truncate
from headrace.types import Text, parts_of

_VOCABULARY: Final = 1 << 20
_SPECIAL: Final = (101, 102)  # a first and a last token, as BERT has them


class FakeTokenizer:
    """One token for each word, by digest, between two special tokens."""

    def __init__(self, max_tokens: int = 64) -> None:
        self._layout = WindowLayout(before=_SPECIAL[:1], after=_SPECIAL[1:], max_tokens=max_tokens)

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        """Return the windows of each text, or ``InputTooLong`` for one over the window that may not be cut."""
        bodies = (" ".join(parts_of(text)) for text in texts)
        errors = map(unicode_error, texts)
        return [
            error or self._layout.lay_out(Body(_ids(body)), truncate)
            for error, body in zip(errors, bodies, strict=True)
        ]


class FakeBackend:
    """A vector for each text, made from its token ids alone.

    Attributes:
        batches: Shapes ``(n, s)`` of the batches it ran, in order.
        delay_s: Time each batch takes.
        poison: Words; a batch that holds one raises.
        nan: Words; a text that holds one gets NaN.
        gate: While cleared, batches wait, so that a test can fill the queue.
    """

    def __init__(self, dimensions: int = 8) -> None:
        self.dimensions = dimensions
        self.batches: list[tuple[int, int]] = []
        self.delay_s = 0.0
        self.poison: frozenset[str] = frozenset()
        self.nan: frozenset[str] = frozenset()
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return ``embedding`` of shape ``(n, dimensions)`` and ``norm`` of shape ``(n,)``."""
        self.batches.append((batch.input_ids.shape[0], batch.input_ids.shape[1]))
        self.gate.wait()
        time.sleep(self.delay_s)
        rows = [ids[mask == 1] for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
        if any(_holds(row, self.poison) for row in rows):
            raise EngineFailed("the model failed on this text")
        vectors = np.stack([self._vector(row) for row in rows])
        norms = np.linalg.norm(vectors, axis=1)
        return {"embedding": vectors / norms[:, None], "norm": norms.astype(np.float32)}

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:  # noqa: ARG002 - as every backend
        """Compute a batch as ``run`` does, in one go."""
        return in_one_go(self.run, batch)

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    def _vector(self, row: NDArray[np.int64]) -> NDArray[np.float32]:
        if _holds(row, self.nan):
            return np.full(self.dimensions, np.nan, dtype=np.float32)
        seed = int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=self.dimensions).astype(np.float32)


def token_id(word: str) -> int:
    """Return the id the fake tokenizer gives a word; 103 and above, so never a special token."""
    return len(_SPECIAL) + 101 + int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % _VOCABULARY


def _ids(text: str) -> list[int]:
    return [token_id(word) for word in text.split()]


def _holds(row: NDArray[np.int64], words: frozenset[str]) -> bool:
    return any(token_id(word) in row for word in words)
