"""Runs batches: one thread for each session, and no text waits for ever.

Whatever a backend does, every future is resolved: a batch that fails is split until the culprit stands
alone, so a poison text costs its neighbours some milliseconds and nothing else.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from headrace.engine.base import (
    PER_TOKEN,
    SPANS,
    UNWATCHED,
    Backend,
    Encoding,
    IntArray,
    Output,
    Steps,
    TokenBatch,
    Watch,
    complete,
    go_on,
    in_one_go,
    run_native,
)
from headrace.engine.batcher import Batcher, Waiting
from headrace.errors import DeadlineExceeded, EngineFailed, HeadraceError, OutputInvalid, ServiceStopping
from headrace.machine import stand_back
from headrace.observe.base import BatchFinished, Observer, QueueChanged
from headrace.types import Window

_LATE: Final = "the deadline passed while the text waited; send less at once, or ask later"
# Of the time that a batch of long texts takes while short ones keep coming, an eighth at least is its own. With less,
# long ones come too late under load; with more, short ones do: half was too much (docs/decisions/0025).
_MOST_REST: Final = 7
# Whoever waited longer until it began has waited enough, or for more than that of the time that its caller allows.
_PATIENCE_S: Final = 1.0
_PATIENCE_SHARE: Final = 0.4
_QUICK_S: Final = 0.002  # to hand a batch to a thread and back takes some 0.3 ms, when the machine is idle
_STOPPED: Final = "the service stopped before the answer was there; ask again"


@dataclass(frozen=True, slots=True)
class _Session:
    """A loaded model and the one thread that calls it."""

    backend: Backend
    thread: ThreadPoolExecutor
    slot: int


@dataclass(frozen=True, slots=True)
class _Computed:
    """What came of the texts of a batch that somebody still waited for."""

    texts: list[Waiting]
    outputs: list[Output | HeadraceError]


class _Turn:
    """The time that a batch takes.

    Args:
        batch: Its texts.

    Attributes:
        started: Point on the monotonic clock.
        rested_s: For how long it rested so that others were computed.
        is_patient: Whether it came soon. Where everybody waits, all go in their order: else a server that is asked for
            too much would be late with all long texts.
    """

    def __init__(self, batch: Sequence[Waiting]) -> None:
        self.started = time.monotonic()
        self.rested_s = 0.0
        self.is_patient = self.started <= min(map(_patient_until, batch))

    @property
    def run_s(self) -> float:
        """Time it was computed so far."""
        return time.monotonic() - self.started - self.rested_s

    @property
    def may_rest(self) -> bool:
        """Whether it has not given away too much: so it ends after some times its own time and a batch of others."""
        return self.rested_s <= _MOST_REST * self.run_s

    @contextlib.contextmanager
    def rest(self) -> Iterator[None]:
        """Rest as long as the block takes."""
        began = time.monotonic()
        yield
        self.rested_s += time.monotonic() - began


class Runner:
    """Takes batches from the queue and runs them on its sessions, as soon as one is free.

    Args:
        model: Name for the facts it states.
        make_backend: Loads the model; called once for each session, in the session's thread.
        sessions: Batches that run at the same time.
        batcher: The queue, which decides what runs together.
        watch: Told which texts run, and asked who has left.
    """

    def __init__(
        self,
        model: str,
        make_backend: Callable[[], Backend],
        observer: Observer,
        *,
        sessions: int,
        batcher: Batcher,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._model = model
        self._make_backend = make_backend
        self._sessions = sessions
        self._batcher = batcher
        self._observer = observer
        self._watch = watch
        self._has_own_loop = watch is not UNWATCHED  # of whoever is watched, the whole process is replaced if it hangs
        self._token_s = math.inf  # of the last batch, for each token
        self._arrived = asyncio.Event()
        self._is_stopping = False
        self._told_waiting = 0
        self._threads: list[ThreadPoolExecutor] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the model into every session."""
        loop = asyncio.get_running_loop()
        for number in range(self._sessions):
            name = f"headrace-{self._model}-{number}"
            thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=stand_back)
            self._threads.append(thread)
            loading = loop.run_in_executor(thread, self._make_backend)
            try:
                backend = await asyncio.shield(loading)
            except asyncio.CancelledError:
                # It goes on in its thread all the same, and nobody else would release what comes of it.
                await asyncio.wait({loading})
                if loading.exception() is None:
                    await loop.run_in_executor(thread, loading.result().close)
                raise
            self._tasks.append(asyncio.create_task(self._serve(_Session(backend, thread, slot=number + 1))))

    def put(self, texts: Sequence[Waiting]) -> None:
        """Add texts to the queue.

        Raises:
            ServiceStopping: ``aclose`` was called.
        """
        if self._is_stopping or not self._tasks:
            raise ServiceStopping(f"{self._model!r} is not running; ask another replica, or again later")
        for waiting in texts:
            self._batcher.put(waiting)
        self._arrived.set()
        self._tell_queue()

    async def aclose(self) -> None:
        """Finish the texts in the queue, then release the sessions; may be called twice."""
        self._is_stopping = True
        self._arrived.set()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self.abort()
        for task in self._tasks:
            if not task.cancelled():  # by a stop before this one, that was cut off
                task.result()

    def abort(self) -> None:
        """Stop at once: fail the texts in the queue and wait for nothing."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        while len(self._batcher):
            _fail(self._batcher.take(), ServiceStopping(_STOPPED))
        for thread in self._threads:
            thread.shutdown(wait=False)

    def discard(self, waiting: Waiting) -> None:
        """Take back a text nobody waits for any more."""
        waiting.future.cancel()
        self._batcher.discard(waiting)

    async def _serve(self, session: _Session) -> None:
        try:
            while batch := await self._next():
                await self._answer(session, batch)
        finally:
            with contextlib.suppress(RuntimeError):  # the thread is gone when the stop was cut off
                await asyncio.get_running_loop().run_in_executor(session.thread, session.backend.close)

    async def _answer(self, session: _Session, batch: list[Waiting]) -> None:
        """Compute a batch, and see to it that none of its futures stays open."""
        try:
            await self._run(session, batch)
        finally:  # also when a stop came in the middle of a split, or a caller left: nobody may be left waiting
            _fail(batch, ServiceStopping(_STOPPED))

    async def _next(self) -> list[Waiting]:
        """Wait for a batch; an empty one means that the runner stops."""
        while True:
            if batch := self._take(self._batcher.take):
                return batch
            if self._is_stopping:
                return []
            self._arrived.clear()
            await self._arrived.wait()

    def _take(self, take: Callable[[], list[Waiting]]) -> list[Waiting]:
        """Take a batch out of the queue, none of it late."""
        if late := self._batcher.expire(time.monotonic()):
            _fail(late, DeadlineExceeded(_LATE))
        batch = take()
        self._tell_queue()
        return batch

    def _tell_queue(self) -> None:
        waiting = len(self._batcher)
        if waiting != self._told_waiting:
            self._told_waiting = waiting
            self._observer.observe(QueueChanged(model=self._model, waiting=waiting))

    async def _run(self, session: _Session, batch: list[Waiting]) -> None:
        """Compute a batch and resolve its futures; split it if it fails."""
        turn = _Turn(batch)
        try:
            computed = await self._compute(session, batch, turn)
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises, its callers must hear
            failure = error  # split outside of this block, or each half's error would drag this one along into the log
        else:
            run_s = turn.run_s
            self._token_s = run_s / max(1, sum(waiting.tokens for waiting in computed.texts))
            self._finish(computed, run_s, turn.started + turn.rested_s)  # to rest is to wait
            return
        await self._split(session, batch, failure)

    def _is_quick(self, batch: Sequence[Waiting]) -> bool:
        """Whether a batch is computed in the loop: it holds it up for a moment in which nothing else waits."""
        tokens = sum(waiting.tokens for waiting in batch)
        return self._has_own_loop and not len(self._batcher) and tokens * self._token_s < _QUICK_S

    async def _compute(self, session: _Session, batch: list[Waiting], turn: _Turn) -> _Computed:
        """Compute a batch; a long one rests when short ones have come meanwhile."""
        loop, steps = asyncio.get_running_loop(), self._steps(session, batch, may_rest=turn.is_patient)
        if self._is_quick(batch):
            return complete(steps)
        while (computed := await loop.run_in_executor(session.thread, self._go_on, steps, turn)) is None:
            if short := self._take(self._batcher.take_short):
                with turn.rest():
                    await self._answer(session, short)
        return computed

    def _go_on(self, steps: Generator[None, None, _Computed], turn: _Turn) -> _Computed | None:
        """Compute until it is done, or until it should rest."""
        while (computed := go_on(steps)) is None:
            if self._batcher.bell.count and turn.may_rest:
                return None
        return computed

    def _steps(self, session: _Session, batch: list[Waiting], *, may_rest: bool) -> Generator[None, None, _Computed]:
        """Compute the texts of a batch that somebody still waits for; long ones may stop on the way."""
        # The last moment to ask: what the loop is told of a leave would be heard some milliseconds later on a busy
        # machine, and of the texts whose callers leave meanwhile 1 to 3 % were computed.
        living = self._living(batch)
        if not living:
            return _Computed([], [])
        encodings = [waiting.encoding for waiting in living]
        padded, numbers, backend = pad(encodings), _numbers(living), session.backend
        is_stepped = may_rest and living[0].is_long
        steps = backend.steps(padded, self._batcher.bell) if is_stepped else in_one_go(backend.run, padded)
        while (arrays := self._step(session.slot, steps, numbers, padded.input_ids.size)) is None:
            yield
            if not self._living(living):
                return _Computed([], [])
        # Asked of the whole batch at once: a call for each array of each text takes longer than the look itself.
        is_sound = all(map(_is_finite, arrays.values()))
        outputs = [_pick(arrays, row, encoding, is_sound=is_sound) for row, encoding in enumerate(encodings)]
        return _Computed(living, outputs)

    def _step(self, slot: int, steps: Steps, numbers: Sequence[int], tokens: int) -> dict[str, NDArray[Any]] | None:
        with self._watch.running(slot, numbers, tokens):
            return run_native(go_on, steps)

    def _living(self, batch: Sequence[Waiting]) -> list[Waiting]:
        """Return the texts that somebody waits for."""
        return [waiting for waiting in batch if not waiting.future.done() and not self._watch.has_left(waiting.number)]

    async def _split(self, session: _Session, batch: list[Waiting], error: Exception) -> None:
        batch = self._living(batch)
        if len(batch) > 1:
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                await self._run(session, half)
            return
        if not batch:
            return  # everybody has left
        structlog.get_logger().warning("engine.text_failed", model=self._model, tokens=batch[0].tokens, exc_info=error)
        known = error if isinstance(error, HeadraceError) else EngineFailed("the model failed on this text")
        self._finish(_Computed(batch, [known]), 0.0, time.monotonic())

    def _finish(self, computed: _Computed, run_s: float, started: float) -> None:
        batch, outputs = computed.texts, computed.outputs
        for waiting, output in zip(batch, outputs, strict=True):
            waiting.started_at, waiting.run_s = started, run_s
            if waiting.future.done():
                continue  # the caller left while it was computed
            if isinstance(output, HeadraceError):
                waiting.future.set_exception(output)
            else:
                waiting.future.set_result(output)
        if not batch:
            return
        failed = [waiting for waiting, output in zip(batch, outputs, strict=True) if isinstance(output, HeadraceError)]
        lengths = [waiting.tokens for waiting in batch]
        self._observer.observe(
            BatchFinished(
                model=self._model,
                texts=len(_numbers(batch)),
                tokens=sum(lengths),
                padded_tokens=len(batch) * max(lengths),
                failed=len(_numbers(failed)),
                run_s=run_s,
            )
        )


def _patient_until(waiting: Waiting) -> float:
    allowed_s = waiting.deadline - waiting.queued_at
    return waiting.queued_at + min(_PATIENCE_S, _PATIENCE_SHARE * allowed_s)


def _numbers(batch: Sequence[Waiting]) -> list[int]:
    """Return the numbers of the texts, once each: the windows of a text have one number.

    So they fit wherever there is room for all texts that may wait.
    """
    return list(dict.fromkeys(waiting.number for waiting in batch))


def pad(encodings: Sequence[Encoding]) -> TokenBatch:
    """Lay texts into one rectangle, padded on the right with 0."""
    shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
    input_ids = np.zeros(shape, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding.ids)] = encoding.ids
        attention_mask[row, : len(encoding.ids)] = 1
    return TokenBatch(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=_types(encodings, shape))


def _types(encodings: Sequence[Encoding], shape: tuple[int, int]) -> IntArray | None:
    if all(encoding.boundary is None for encoding in encodings):
        return None
    types = np.zeros(shape, dtype=np.int64)
    for row, encoding in enumerate(encodings):
        if encoding.boundary is not None:
            types[row, encoding.boundary : len(encoding.ids)] = 1
    return types


def _is_finite(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array).all())


def _pick(arrays: dict[str, NDArray[Any]], row: int, encoding: Encoding, *, is_sound: bool) -> Output | HeadraceError:
    """Return one text's part of the outputs, copied so that it does not keep the whole batch in memory."""
    length = len(encoding.ids)
    asked = slice(length) if encoding.masks is None else encoding.masks
    own = {
        name: (array[row, asked] if name.startswith(PER_TOKEN) else array[row]).copy() for name, array in arrays.items()
    }
    if not (is_sound or all(map(_is_finite, own.values()))):
        return OutputInvalid("the model answered NaN or infinity for this text; it cannot be used with this model")
    if encoding.spans is not None:
        own[SPANS] = encoding.spans[asked]
    window = Window(arrays=own, tokens=length, weight=encoding.weight)
    return Output(windows=(window,), truncated=encoding.truncated)


def _fail(batch: list[Waiting], error: HeadraceError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(type(error)(error.message))
