"""A model loaded in this process: tokenizer, queue and sessions behind the engine's port."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from headrace.engine.base import Backend, Encoding, Engine, Job, JobResult, Output, Tokenizer
from headrace.engine.batcher import Waiting
from headrace.engine.onnx import OnnxBackend
from headrace.engine.runner import Runner
from headrace.engine.tokenizer import FastTokenizer
from headrace.errors import EngineFailed, HeadraceError, QueueFull, RequestTooLarge, ServiceStopping
from headrace.machine import read_machine
from headrace.models.manifest import Manifest
from headrace.observe.base import Observer
from headrace.settings import EngineSettings
from headrace.types import Timings

_PROBE_TEXT: Final = "A probe sentence."
_PROBE_LIMIT_S: Final = 30.0
_UNKNOWN_WAIT_S: Final = 1.0  # told to a refused caller before any batch was measured


class LoadedEngine:
    """Runs one model in this process.

    Args:
        model: Name of the model, for messages and facts.
        make_tokenizer: Loads the tokenizer; called in a thread.
        make_backend: Loads the model; called in a thread, once for each session.
    """

    def __init__(
        self,
        model: str,
        make_tokenizer: Callable[[], Tokenizer],
        make_backend: Callable[[], Backend],
        settings: EngineSettings,
        observer: Observer,
    ) -> None:
        self._model = model
        self._make_tokenizer = make_tokenizer
        self._runner = Runner(
            model,
            make_backend,
            sessions=settings.sessions,
            token_budget=settings.token_budget,
            observer=observer,
        )
        self._max_texts = settings.max_queued_texts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"headrace-{model}-tokenize")
        self._tokenizer: Tokenizer | None = None
        self._admitted = 0
        self._running: set[asyncio.Future[None]] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Load the tokenizer and the model."""
        self._tokenizer = await asyncio.get_running_loop().run_in_executor(self._thread, self._make_tokenizer)
        await self._runner.start()

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        Raises:
            QueueFull: Too many texts are waiting.
            RequestTooLarge: The job alone has more texts than may wait.
            ServiceStopping: ``aclose`` was called.
        """
        self._admit(len(job.texts))
        finished = asyncio.get_running_loop().create_future()
        self._running.add(finished)
        started = time.monotonic()
        try:
            encodings = await self._tokenize(job)
            return await self._compute(job, encodings, time.monotonic() - started)
        finally:
            self._admitted -= len(job.texts)
            self._running.discard(finished)
            finished.cancel()

    async def probe(self) -> None:
        """Run one real inference.

        Raises:
            HeadraceError: The model does not answer.
        """
        deadline = time.monotonic() + _PROBE_LIMIT_S
        result = await self.run(Job(texts=(_PROBE_TEXT,), truncate="truncate", deadline=deadline))
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

    def _admit(self, texts: int) -> None:
        """Count texts in, before any work is spent on them."""
        if self._is_stopping:
            raise ServiceStopping(f"{self._model!r} is stopping; ask another replica, or again later")
        if texts > self._max_texts:
            raise RequestTooLarge(
                f"{texts} texts at once are more than the queue holds ({self._max_texts}); send fewer at once"
            )
        if self._admitted + texts > self._max_texts:
            raise QueueFull(
                f"{self._admitted} texts wait for {self._model!r}, at most {self._max_texts} may; ask again later",
                retry_after_s=self._wait_estimate_s(texts),
            )
        self._admitted += texts

    def _wait_estimate_s(self, texts: int) -> float:
        """Return the time until there is room for so many texts, at the rate measured so far."""
        over = self._admitted + texts - self._max_texts
        rate = self._runner.texts_per_s
        return over / rate if rate else _UNKNOWN_WAIT_S

    async def _tokenize(self, job: Job) -> list[Encoding | HeadraceError]:
        if self._tokenizer is None:
            raise ServiceStopping(f"{self._model!r} was not started")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._tokenizer.encode, job.texts, job.truncate)

    async def _compute(self, job: Job, encodings: list[Encoding | HeadraceError], tokenize_s: float) -> JobResult:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        waiting = [
            Waiting(encoding=encoding, deadline=job.deadline, queued_at=now, future=loop.create_future())
            for encoding in encodings
            if isinstance(encoding, Encoding)
        ]
        try:
            for text in waiting:
                self._runner.put(text)
            if waiting:
                await asyncio.wait([text.future for text in waiting])
        finally:  # the caller left, or the runner refused: what was queued is dropped before it is computed
            for text in waiting:
                text.future.cancel()
        outputs = iter(waiting)
        items = tuple(
            encoding if isinstance(encoding, HeadraceError) else _outcome(next(outputs)) for encoding in encodings
        )
        return JobResult(items=items, timings=_timings(waiting, tokenize_s))


def load_engine(folder: Path, manifest: Manifest, settings: EngineSettings, observer: Observer) -> Engine:
    """Return the engine for a model folder; ``start`` reads the files.

    Args:
        folder: Holds the graph and the tokenizer.
        manifest: What the folder says about itself; the window is taken from it.
        settings: How to run it.
        observer: Hears of its batches and its queue.
    """
    threads = settings.threads or max(1, read_machine().threads // settings.sessions)
    return LoadedEngine(
        manifest.name,
        lambda: FastTokenizer(folder / "tokenizer.json", manifest.max_tokens),
        lambda: OnnxBackend(folder / "model.onnx", threads),
        settings,
        observer,
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
