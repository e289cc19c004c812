"""A model loaded in this process: tokenizer, queue and sessions behind the engine's port."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from headrace.engine.admission import Admission
from headrace.engine.base import (
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
    unwatched,
)
from headrace.engine.batcher import Waiting
from headrace.engine.onnx import OnnxBackend
from headrace.engine.runner import Runner
from headrace.engine.tokenizer import FastTokenizer
from headrace.errors import EngineFailed, HeadraceError, ServiceStopping
from headrace.machine import read_machine
from headrace.models.folder import GRAPH, TOKENIZER
from headrace.models.manifest import Manifest
from headrace.observe.base import Observer
from headrace.settings import EngineSettings
from headrace.types import Timings

_PROBE_TEXT: Final = "A probe sentence."
_PROBE_LIMIT_S: Final = 30.0


class LoadedEngine:
    """Runs one model in this process.

    Args:
        model: Name of the model, for messages and facts.
        make_tokenizer: Loads the tokenizer; called in a thread.
        make_backend: Loads the model; called in a thread, once for each session.
        watch: Told which texts the tokenizer and the model work on.
    """

    def __init__(
        self,
        model: str,
        make_tokenizer: Callable[[], Tokenizer],
        make_backend: Callable[[], Backend],
        settings: EngineSettings,
        observer: Observer,
        watch: Watch = unwatched,
    ) -> None:
        self._model = model
        self._make_tokenizer = make_tokenizer
        self._runner = Runner(
            model,
            make_backend,
            observer,
            sessions=settings.sessions,
            token_budget=settings.token_budget,
            watch=watch,
        )
        self._watch = watch
        self._admission = Admission(model, settings.max_queued_texts)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"headrace-{model}-tokenize")
        self._tokenizer: Tokenizer | None = None
        self._running: set[asyncio.Future[None]] = set()
        self._is_started = self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether it was started and is not stopping."""
        return self._is_started and not self._is_stopping

    async def start(self) -> None:
        """Load the tokenizer and the model."""
        self._tokenizer = await asyncio.get_running_loop().run_in_executor(self._thread, self._make_tokenizer)
        await self._runner.start()
        self._is_started = True

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        Raises:
            QueueFull: Too many texts are waiting.
            RequestTooLarge: The job alone has more texts than may wait.
            ServiceStopping: ``aclose`` was called.
        """
        if self._is_stopping:
            raise ServiceStopping(f"{self._model!r} is stopping; ask another replica, or again later")
        self._admission.enter(len(job.texts), self._runner.texts_per_s)
        finished = asyncio.get_running_loop().create_future()
        self._running.add(finished)
        started = time.monotonic()
        try:
            encodings = await self._tokenize(job)
            return await self._compute(job, encodings, time.monotonic() - started)
        finally:
            self._admission.leave(len(job.texts))
            self._running.discard(finished)
            finished.cancel()

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

    async def _tokenize(self, job: Job) -> list[Encoding | HeadraceError]:
        if self._tokenizer is None:
            raise ServiceStopping(f"{self._model!r} was not started")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encode, self._tokenizer, job)

    def _encode(self, tokenizer: Tokenizer, job: Job) -> list[Encoding | HeadraceError]:
        numbers = [text_number(job.number, index) for index in range(len(job.texts))]
        # Characters stand for tokens, which are not known yet and never more by much.
        with self._watch(0, numbers, sum(len(text) for text in job.texts)):
            return run_native(partial(tokenizer.encode, job.texts), job.truncate)

    async def _compute(self, job: Job, encodings: list[Encoding | HeadraceError], tokenize_s: float) -> JobResult:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        waiting = [
            Waiting(
                encoding=encoding,
                deadline=job.deadline,
                queued_at=now,
                future=loop.create_future(),
                number=text_number(job.number, index),
            )
            for index, encoding in enumerate(encodings)
            if isinstance(encoding, Encoding)
        ]
        try:
            for text in waiting:
                self._runner.put(text)
            if waiting:
                await asyncio.wait([text.future for text in waiting])
        finally:  # the caller left, or the runner refused: what was queued is dropped before it is computed
            for text in waiting:
                self._runner.discard(text)
        outputs = iter(waiting)
        items = tuple(
            encoding if isinstance(encoding, HeadraceError) else _outcome(next(outputs)) for encoding in encodings
        )
        return JobResult(items=items, timings=_timings(waiting, tokenize_s))


def load_engine(
    folder: Path, manifest: Manifest, settings: EngineSettings, observer: Observer, watch: Watch = unwatched
) -> Engine:
    """Return the engine for a model folder; ``start`` reads the files.

    Args:
        folder: Holds the graph and the tokenizer.
        manifest: What the folder says about itself; the window is taken from it.
        settings: How to run it.
        observer: Hears of its batches and its queue.
        watch: Told which texts the tokenizer and the model work on.
    """
    threads = settings.threads or max(1, read_machine().threads // settings.sessions)
    return LoadedEngine(
        manifest.name,
        lambda: FastTokenizer(folder / TOKENIZER, manifest.max_tokens),
        lambda: OnnxBackend(folder / GRAPH, threads),
        settings,
        observer,
        watch,
    )


def _outcome(waiting: Waiting) -> Output | HeadraceError:
    error = waiting.future.exception()
    if isinstance(error, HeadraceError):
        return error
    return waiting.future.result()


def _timings(waiting: list[Waiting], tokenize_s: float) -> Timings:
    ran = [text for text in waiting if text.started_at]
    return Timings(
        queue_s=max((text.started_at - text.queued_at for text in ran), default=0.0),
        tokenize_s=tokenize_s,
        run_s=max((text.run_s for text in ran), default=0.0),
    )
