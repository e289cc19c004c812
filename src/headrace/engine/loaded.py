"""A model loaded in this process: tokenizer, queue and sessions behind the engine's port."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from headrace.engine.admission import UNBOUNDED, Admission, Bounds
from headrace.engine.base import (
    UNWATCHED,
    Backend,
    Encoding,
    Engine,
    Job,
    JobResult,
    Output,
    Tokenizer,
    Watch,
    run_native,
    text_number,
)
from headrace.engine.batcher import Batcher, Waiting
from headrace.engine.lengths import count_chars
from headrace.engine.plan import Plan, make_plan, settle
from headrace.engine.runner import Runner
from headrace.engine.tokenizer import FastTokenizer, Spelling
from headrace.engine.vocabulary import VocabularyModel
from headrace.errors import EngineFailed, HeadraceError, ServiceStopping
from headrace.machine import read_machine
from headrace.models.folder import GRAPH, TOKENIZER
from headrace.models.manifest import Manifest
from headrace.observe.base import BatchFinished, Fact, Observer
from headrace.settings import EngineSettings
from headrace.types import Text, Timings

_PROBE_TEXT: Final = "A probe sentence."
_PROBE_LIMIT_S: Final = 30.0
# Some 10 ms of tokenizing, and by default the longest text there is, since a text is never in two slices.
_SLICE_CHARS: Final = 32_768
# What is tokenized in the event loop: some 0.1 ms, which is what handing it to a thread and back costs.
_AT_ONCE_TEXTS: Final = 8
_AT_ONCE_CHARS: Final = 256
# A deadline that is nearer than this comes before who was there earlier; a queue is as long by default.
_PATIENCE_S: Final = 0.5

_Encoded = tuple[Encoding, ...] | HeadraceError


class LoadedEngine:
    """Runs one model in this process.

    Args:
        model: Name of the model, for messages and facts.
        make_tokenizer: Loads the tokenizer; called in a thread.
        make_backend: Loads the model; called in a thread, once for each session.
        watch: Told which texts the tokenizer and the model work on, and asked who has left.
    """

    def __init__(
        self,
        model: str,
        make_tokenizer: Callable[[], Tokenizer],
        make_backend: Callable[[], Backend],
        settings: EngineSettings,
        observer: Observer,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._model = model
        self._make_tokenizer = make_tokenizer
        self._runner = Runner(
            model,
            make_backend,
            self,
            sessions=settings.sessions,
            batcher=Batcher(settings.token_budget, has_padding=settings.runtime != "native"),
            watch=watch,
        )
        self._watch = watch
        self._observer = observer
        # Who watches is a supervisor, and has let the jobs in before: it counts callers who left as gone at once, and
        # must not hear a refusal because the news of it is still on its way.
        self._admission = Admission(model, Bounds.of(settings) if watch is UNWATCHED else UNBOUNDED)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"headrace-{model}-tokenize")
        # A text that hangs the tokenizer there hangs the loop: of whoever is watched, the whole process is replaced.
        self._has_own_loop = watch is not UNWATCHED
        self._slot = threading.Lock()  # of what is watched: the loop and the thread tokenize one after the other
        self._tokenizer: Tokenizer | None = None
        self._running: set[asyncio.Future[None]] = set()
        self._is_started = self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether it was started and is not stopping."""
        return self._is_started and not self._is_stopping

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        """Return the time until a job of one text could be let in; nothing if it could be now."""
        return self._admission.retry_after_s(arriving, size_bytes, tenant)

    async def start(self) -> None:
        """Load the tokenizer and the model."""
        self._tokenizer = await asyncio.get_running_loop().run_in_executor(self._thread, self._make_tokenizer)
        await self._runner.start()
        self._is_started = True

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        Raises:
            QueueFull: The job's turn would not come soon enough, or in time.
            RequestTooLarge: The job alone is more than may wait.
            ServiceStopping: ``aclose`` was called.
        """
        if self._is_stopping:
            raise ServiceStopping(f"{self._model!r} is stopping; ask another replica, or again later")
        with self._admission.let_in(job):
            finished = asyncio.get_running_loop().create_future()
            self._running.add(finished)
            started = time.monotonic()
            try:
                encodings = await self._tokenize(job)
                result = await self._compute(job, encodings, time.monotonic() - started)
            finally:
                self._running.discard(finished)
                finished.cancel()
        self._admission.learn(job, result)
        return result

    async def probe(self) -> None:
        """Run one real inference.

        Raises:
            HeadraceError: The model does not answer.
        """
        deadline = time.monotonic() + _PROBE_LIMIT_S
        try:
            async with asyncio.timeout(_PROBE_LIMIT_S):
                result = await self.run(Job(texts=(_PROBE_TEXT,), truncate="truncate", deadline=deadline))
        except TimeoutError as error:
            raise EngineFailed(f"{self._model!r} did not answer a probe within {_PROBE_LIMIT_S:g} s") from error
        if isinstance(result.items[0], HeadraceError):
            raise EngineFailed(f"{self._model!r} fails on a probe sentence; import it again") from result.items[0]

    async def aclose(self) -> None:
        """Refuse new jobs, finish those accepted, release the model; may be called twice."""
        self._is_stopping = True
        try:
            if self._running:
                await asyncio.wait(self._running)
            await self._runner.aclose()
        finally:  # also when the wait was cut off: nobody may be left waiting
            self._runner.abort()
            self._thread.shutdown(wait=False)

    def observe(self, fact: Fact) -> None:
        """Learn from a fact of the runner, and pass it on."""
        if isinstance(fact, BatchFinished):
            self._admission.count(fact)
        self._observer.observe(fact)

    async def _tokenize(self, job: Job) -> list[_Encoded]:
        """Tokenize a small job at once and another slice by slice; nobody waits for more than one slice of another."""
        if self._tokenizer is None:
            raise ServiceStopping(f"{self._model!r} was not started")
        if (small := self._tokenize_at_once(self._tokenizer, job)) is not None:
            return small
        loop, encoded = asyncio.get_running_loop(), list[_Encoded]()
        for part in slice_texts(job.texts):
            try:
                turn = loop.run_in_executor(self._thread, self._encode_alone, self._tokenizer, job, part)
            except RuntimeError as error:  # the thread is gone: the stop was cut off between two slices
                raise ServiceStopping(f"{self._model!r} has stopped; ask another replica, or again later") from error
            encoded += await turn
        return encoded

    def _tokenize_at_once(self, tokenizer: Tokenizer, job: Job) -> list[_Encoded] | None:
        """Tokenize a job here and now; nothing if it is large, the thread is at work, or others use the loop."""
        is_small = len(job.texts) <= _AT_ONCE_TEXTS and sum(map(count_chars, job.texts)) <= _AT_ONCE_CHARS
        if not (self._has_own_loop and is_small and self._slot.acquire(blocking=False)):
            return None
        try:
            return self._encode(tokenizer, job, range(len(job.texts)))
        finally:
            self._slot.release()

    def _encode_alone(self, tokenizer: Tokenizer, job: Job, part: range) -> list[_Encoded]:
        with self._slot:
            return self._encode(tokenizer, job, part)

    def _encode(self, tokenizer: Tokenizer, job: Job, part: range) -> list[_Encoded]:
        texts = job.texts[part.start : part.stop]
        numbers = [text_number(job.number, index) for index in part]
        # Characters stand for tokens, which are not known yet and never more by much.
        with self._watch.running(0, numbers, sum(map(count_chars, texts))):
            return run_native(partial(tokenizer.encode, texts), job.truncate)

    async def _compute(self, job: Job, encoded: list[_Encoded], tokenize_s: float) -> JobResult:
        texts = self._line_up(job, encoded)
        waiting = [window for text in texts if not isinstance(text, HeadraceError) for window in text]
        try:
            if waiting:
                self._runner.put(waiting)
                await _all_answered(waiting)
        finally:  # the caller left, or the runner refused: what was queued is dropped before it is computed
            for window in waiting:
                self._runner.discard(window)
        items = tuple(text if isinstance(text, HeadraceError) else _outcome(text) for text in texts)
        return JobResult(items=items, timings=_timings(waiting, tokenize_s))

    def _line_up(self, job: Job, encoded: Sequence[_Encoded]) -> list[list[Waiting] | HeadraceError]:
        """Return the windows of each text for the queue; all of a text have its number.

        A window is due when it would have been computed, had the job the engine for itself: so a large job takes turns
        with small ones that come after it, and does not hold them up for all of its work.
        """
        loop, now, tokens = asyncio.get_running_loop(), time.monotonic(), 0
        texts: list[list[Waiting] | HeadraceError] = []
        for index, item in enumerate(encoded):
            if isinstance(item, HeadraceError):
                texts.append(item)
                continue
            windows = []
            for encoding in item:
                waiting = Waiting(
                    encoding=encoding,
                    deadline=job.deadline,
                    due=min(job.deadline, now + _PATIENCE_S + tokens / self._admission.tokens_per_s),
                    queued_at=now,
                    future=loop.create_future(),
                    tenant=job.tenant,
                    number=text_number(job.number, index),
                )
                windows.append(waiting)
                tokens += waiting.tokens
            texts.append(self._bind(windows))
        return texts

    def _bind(self, windows: list[Waiting]) -> list[Waiting]:
        """See to it that the windows of a text end together."""
        if len(windows) > 1:
            for window in windows:
                window.future.add_done_callback(partial(self._drop_if_failed, windows))
        return windows

    def _drop_if_failed(self, windows: list[Waiting], future: "asyncio.Future[Output]") -> None:
        """Take back the other windows of a text of which one has failed: nobody will look at them."""
        if not future.cancelled() and future.exception() is not None:
            for window in windows:
                self._runner.discard(window)


def load_engine(
    folder: Path, manifest: Manifest, settings: EngineSettings, observer: Observer, watch: Watch = UNWATCHED
) -> Engine:
    """Return the engine for a model folder; ``start`` reads the files.

    Args:
        folder: Holds the graph and the tokenizer.
        manifest: What the folder says about itself; the window is taken from it.
        settings: How to run it.
        observer: Hears of its batches and its queue.
        watch: Told which texts the tokenizer and the model work on, and asked who has left.
    """
    plan = make_plan(settings, read_machine())
    settings = settle(settings, plan)
    return LoadedEngine(
        manifest.name,
        lambda: FastTokenizer(folder / TOKENIZER, manifest.max_tokens, manifest.words, manifest.mask),
        _model_loader(folder, manifest, plan),
        settings,
        observer,
        watch,
    )


def _model_loader(folder: Path, manifest: Manifest, plan: Plan) -> Callable[[], Backend]:
    """Return what loads a model, once for each session."""
    load = backend_loader(folder / GRAPH, plan)
    if manifest.mask is None:
        return load
    return VocabularyModel(folder / GRAPH, partial(Spelling, folder / TOKENIZER, manifest.mask), load).session


def backend_loader(path: Path, plan: Plan) -> Callable[[], Backend]:
    """Return what loads a graph into the plan's runtime, once for each session.

    The other runtimes are not even imported, since some take 100 MiB.
    """
    if plan.runtime == "native":
        from headrace.engine.native import NativeModel  # noqa: PLC0415 - see above

        return NativeModel(path, plan.threads, plan.precision).session
    if plan.runtime == "openvino":
        from headrace.engine.openvino import OpenvinoBackend  # noqa: PLC0415 - see above

        return partial(OpenvinoBackend, path, plan.threads, plan.precision)
    from headrace.engine.onnx import OnnxBackend  # noqa: PLC0415 - see above

    return partial(OnnxBackend, path, plan.threads)


def slice_texts(texts: Sequence[Text]) -> Iterator[range]:
    """Yield the indexes of texts that are tokenized in one go: few enough characters, or a single text."""
    start = chars = 0
    for index, text in enumerate(texts):
        if chars and chars + count_chars(text) > _SLICE_CHARS:
            yield range(start, index)
            start, chars = index, 0
        chars += count_chars(text)
    if start < len(texts):
        yield range(start, len(texts))


async def _all_answered(waiting: Sequence[Waiting]) -> None:
    if len(waiting) > 1:
        await asyncio.wait([window.future for window in waiting])
        return
    # The usual case; to wait for a future itself saves two turns of the loop.
    with contextlib.suppress(HeadraceError):  # whoever looks at the future finds it
        await waiting[0].future


def _outcome(windows: Sequence[Waiting]) -> Output | HeadraceError:
    """Return what came of a text; a window that failed fails it, and the others were cancelled then."""
    for window in windows:
        error = None if window.future.cancelled() else window.future.exception()
        if isinstance(error, HeadraceError):
            return error
    outputs = [window.future.result() for window in windows]
    whole = tuple(window for output in outputs for window in output.windows)
    return Output(windows=whole, truncated=outputs[-1].truncated)


def _timings(waiting: list[Waiting], tokenize_s: float) -> Timings:
    ran = [text for text in waiting if text.started_at]
    return Timings(
        queue_s=max((text.started_at - text.queued_at for text in ran), default=0.0),
        tokenize_s=tokenize_s,
        run_s=max((text.run_s for text in ran), default=0.0),
    )
