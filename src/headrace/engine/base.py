"""The ports of the engine.

``Engine`` is what the service knows: asynchronous, texts in, arrays out. It may live in this process, in a
child process or on another machine. ``Backend`` is what an engine knows of a runtime: synchronous, token
ids in, arrays out, called from one thread at a time.
"""

import contextlib
import ctypes
import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from headrace.errors import EngineFailed, HeadraceError, RequestInvalid
from headrace.options import Truncate
from headrace.types import Arrays, Text, Timings, Window, parts_of

IntArray = NDArray[np.int64]
A = TypeVar("A")
R = TypeVar("R")

number_job: Final = itertools.count(1).__next__
_MAX_JOB_TEXTS: Final = 1 << 20  # the most that engine.max_queued_texts can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Texts of one request for one model.

    Attributes:
        deadline: Point on the monotonic clock after which a text is dropped instead of computed.
        tenant: Who shares the engine with others; empty where there is only one.
        number: Tells the jobs of one process apart where their texts must not be shown.
    """

    texts: tuple[Text, ...]
    truncate: Truncate
    deadline: float
    tenant: str = ""
    number: int = field(default_factory=number_job, compare=False)


def text_number(job: int, index: int) -> int:
    """Return the number of one text of a job: different for all texts of all jobs of a process."""
    return job * _MAX_JOB_TEXTS + index


def split_number(text: int) -> tuple[int, int]:
    """Return the job's number and the index in the job that a text's number is made of."""
    return divmod(text, _MAX_JOB_TEXTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the model gave for one text; it does not depend on the texts it was computed with.

    Attributes:
        windows: The text's windows in their order, at least one. What they are together is for the task to say.
        truncated: Whether the text was cut to the window.
    """

    windows: tuple[Window, ...]
    truncated: bool

    @property
    def tokens(self) -> int:
        """Tokens computed, those of all windows together."""
        return sum(window.tokens for window in self.windows)

    @property
    def arrays(self) -> Arrays:
        """The arrays of the first window, which is all there is unless the job is chunked."""
        return self.windows[0].arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One output or error for each text, in the order of the texts."""

    items: tuple[Output | HeadraceError, ...]
    timings: Timings


class Engine(Protocol):
    """Runs one model.

    Every future resolves: with an output, with an error of its own, or with what stopped the job.
    """

    @property
    def is_ready(self) -> bool:
        """Whether a job given now would be run: the engine has started and neither stops nor mends itself."""
        ...

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        """Return the time until ``run`` could let in a job of one text; nothing if it could be now.

        Args:
            arriving: Jobs that are on their way and come before it.
            size_bytes: What they are at most, all together.
            tenant: Whose job it is; if that is not known, all that is inside comes before it.
        """
        ...

    async def start(self) -> None:
        """Load the model; ``run`` may be called afterwards."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        When the caller is cancelled, texts that were not computed yet are dropped.

        Raises:
            QueueFull: The job's turn would not come soon enough, or in time.
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


class Watch(Protocol):
    """What an engine's threads and whoever supervises its process tell each other, without a message.

    The supervisor must know what a process was doing when it died, and a thread that is about to compute which callers
    have left since (``activity.py``). Its methods are called from any thread; they must be quick and must not raise.
    """

    def running(self, slot: int, texts: Sequence[int], tokens: int) -> contextlib.AbstractContextManager[None]:
        """Show that native code works on some texts while the context lasts.

        Args:
            slot: 0 for the tokenizer, the others are the sessions; each is used by one thread at a time.
            texts: Their numbers.
            tokens: How many it can be at most.
        """
        ...

    def has_left(self, text: int) -> bool:
        """Return whether nobody waits for a text any more; what is not known yet is no."""
        ...


class Unwatched:
    """The watch of an engine that takes its process along: nobody would be left to read it."""

    def running(self, slot: int, texts: Sequence[int], tokens: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - as every watch
        """Write nothing down."""
        return contextlib.nullcontext()

    def has_left(self, text: int) -> bool:  # noqa: ARG002 - as every watch
        """Know of nobody."""
        return False


UNWATCHED: Final = Unwatched()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One window of a text as token ids; it runs like a text of its own.

    Attributes:
        ids: Token ids, special tokens included, no padding.
        weight: How many of them are the text's own and were not in the window before.
        truncated: Whether the text was cut to this window.
        boundary: How many of them come before the second of two texts; nothing if there is one text, or if a tokenizer
            does not tell them apart.
        spans: Where each token is in the text, as of ``Window``; nothing if nobody needs to know.
        masks: Indexes of those tokens that are masks, which alone are asked about; nothing if all are.
    """

    ids: Sequence[int]
    weight: int
    truncated: bool
    boundary: int | None = None
    spans: NDArray[np.int32] | None = None
    masks: NDArray[np.intp] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Texts of about one length, padded to the longest.

    Attributes:
        input_ids: Shape ``(n, s)``, int64, padded on the right.
        attention_mask: Shape ``(n, s)``, int64, 1 for a token and 0 for padding.
        token_type_ids: Shape ``(n, s)``, int64, 1 for a token of the second of two texts; nothing if there are none.
    """

    input_ids: IntArray
    attention_mask: IntArray
    token_type_ids: IntArray | None = None


TYPES: Final = "token_type_ids"
"""Input of a graph that tells two texts apart."""


def feeds_of(batch: TokenBatch, *, has_types: bool) -> dict[str, IntArray]:
    """Return a batch by the names of a graph's inputs."""
    feeds = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if has_types:
        feeds[TYPES] = np.zeros_like(batch.input_ids) if batch.token_type_ids is None else batch.token_type_ids
    return feeds


def run_native(function: Callable[[A], R], argument: A) -> R:
    """Call into native code, and turn what no ``except Exception`` catches into an error of ours.

    A panic in a Rust extension is a ``BaseException`` (PyO3's ``PanicException``); let through, it would end the
    thread or the task that serves everybody.

    Raises:
        EngineFailed: The native code panicked.
    """
    try:
        return function(argument)
    except Exception:
        raise
    except BaseException as error:  # a panic; that it was one is all that is known
        raise EngineFailed("the model failed on this text") from error


def unicode_error(text: Text) -> RequestInvalid | None:
    """Return what is wrong with a text that is no Unicode: Python strings can hold lone surrogates, UTF-8 cannot."""
    try:
        for part in parts_of(text):
            part.encode()
    except UnicodeEncodeError as error:
        return RequestInvalid(f"the text has a lone surrogate at character {error.start}; send valid Unicode")
    return None


class Bell:
    """Rings while somebody would rather have another batch computed.

    Native code looks at it between two layers, without Python: to come back after each layer just to ask took a tenth
    of the speed, since a thread that comes back waits for the interpreter.
    """

    def __init__(self) -> None:
        self._count = ctypes.c_int32()

    @property
    def count(self) -> int:
        """How many would."""
        return self._count.value

    def add(self, change: int) -> None:
        """Let so many more want it, or fewer; called by one thread."""
        self._count.value += change

    @property
    def address(self) -> int:
        """Where the number is in memory, an ``int32_t``, as long as this object lives."""
        return ctypes.addressof(self._count)


Steps = Generator[None, None, dict[str, NDArray[Any]]]
"""A batch under way: goes on each time it is asked to, and returns the outputs in the end."""


def in_one_go(run: Callable[[TokenBatch], dict[str, NDArray[Any]]], batch: TokenBatch) -> Steps:
    """Return the steps of a runtime that does not stop on the way."""
    yield from ()
    return run(batch)


def go_on(steps: Generator[None, None, R]) -> R | None:
    """Take the next step; returns what comes of all of them, or nothing if it was not the last."""
    try:
        next(steps)
    except StopIteration as end:
        return cast("R", end.value)
    return None


def complete(steps: Generator[None, None, R]) -> R:
    """Take all steps, and return what comes of them."""
    while (result := go_on(steps)) is None:
        pass
    return result


class Tokenizer(Protocol):
    """Turns texts into token ids; may be called from any thread."""

    def encode(self, texts: Sequence[Text], truncate: Truncate) -> list[tuple[Encoding, ...] | HeadraceError]:
        """Return the windows of each text, or ``InputTooLong`` for one over the window that may not be cut."""
        ...


PER_TOKEN: Final = "token_"  # noqa: S105 - of text
"""What the names of outputs begin with whose second axis is the tokens, padding included."""

SPANS: Final = "spans"
"""Name of the array that says where the tokens are in the text: the tokenizer's part of what a window gives."""


class Backend(Protocol):
    """A model loaded into a runtime."""

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; the first axis of each is the batch, the second may be the tokens."""
        ...

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        """Compute a batch as ``run`` does, and if the bell rings, stop where another one may be computed before."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...
