"""The ports of the engine.

``Engine`` is what the service knows: asynchronous, texts in, arrays out. It may live in this process, in a
child process or on another machine. ``Backend`` is what an engine knows of a runtime: synchronous, token
ids in, arrays out, called from one thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.errors import HeadraceError, RequestInvalid
from headrace.types import Arrays, Timings, Truncate

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Texts of one request for one model.

    Attributes:
        deadline: Point on the monotonic clock after which a text is dropped instead of computed.
    """

    texts: tuple[str, ...]
    truncate: Truncate
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the model gave for one text; it does not depend on the texts it was computed with.

    Attributes:
        arrays: The graph's outputs by name, the batch axis taken away; for an embedding model
            ``embedding`` of shape ``(d,)`` and ``norm`` of shape ``()``, float32.
        tokens: Tokens computed, special tokens included, padding not.
        truncated: Whether the text was cut to the window.
    """

    arrays: Arrays
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One output or error for each text, in the order of the texts."""

    items: tuple[Output | HeadraceError, ...]
    timings: Timings


class Engine(Protocol):
    """Runs one model.

    Every future resolves: with an output, with an error of its own, or with what stopped the job.
    """

    async def start(self) -> None:
        """Load the model; ``run`` may be called afterwards."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        When the caller is cancelled, texts that were not computed yet are dropped.

        Raises:
            QueueFull: Too many texts are waiting.
            ServiceStopping: ``aclose`` was called.
        """
        ...

    async def probe(self) -> None:
        """Run one real inference.

        Raises:
            HeadraceError: The model does not answer.
        """
        ...

    async def aclose(self) -> None:
        """Refuse new jobs, finish those accepted, release the model; may be called twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One text as token ids.

    Attributes:
        ids: Token ids, special tokens included, no padding.
        truncated: Whether the text was cut to the window.
    """

    ids: Sequence[int]
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Texts of about one length, padded to the longest.

    Attributes:
        input_ids: Shape ``(n, s)``, int64, padded on the right.
        attention_mask: Shape ``(n, s)``, int64, 1 for a token and 0 for padding.
    """

    input_ids: IntArray
    attention_mask: IntArray


def unicode_error(text: str) -> RequestInvalid | None:
    """Return what is wrong with a text that is no Unicode: Python strings can hold lone surrogates, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return RequestInvalid(f"the text has a lone surrogate at character {error.start}; send valid Unicode")
    return None


class Tokenizer(Protocol):
    """Turns texts into token ids; may be called from any thread."""

    def encode(self, texts: Sequence[str], truncate: Truncate) -> list[Encoding | HeadraceError]:
        """Return one encoding for each text, or ``InputTooLong`` for a text over the window."""
        ...


class Backend(Protocol):
    """A model loaded into a runtime."""

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; the first axis of each is the batch."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...
