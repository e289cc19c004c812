"""An engine in another process: on this machine over a socket pair, or on another one over TCP."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from headrace.engine.base import Job, JobResult, number_job
from headrace.engine.inbox import Inbox
from headrace.engine.outbox import Outbox
from headrace.engine.wire import (
    VERSION,
    BatchSeen,
    Cancel,
    Done,
    Message,
    Probe,
    Probed,
    QueueSeen,
    Ready,
    Refused,
    Run,
    StartFailed,
)
from headrace.errors import EngineUnavailable, RequestTooLarge, ServiceStopping
from headrace.observe.base import BatchFinished, Observer, QueueChanged

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[object]]
"""Opens a stream and gives it to the protocol that the function it gets returns."""


class RemoteEngine:
    """Runs one model at the other end of a stream. One connection: when it is lost, this engine is done.

    Args:
        model: Name of the model, for messages and facts.
        connect: Opens the stream.
        observer: Hears the facts that the other end states.

    Attributes:
        lost: Set when the connection has ended, whoever ended it.
    """

    def __init__(self, model: str, connect: Connect, observer: Observer) -> None:
        self._model = model
        self._connect = connect
        self._observer = observer
        self._outbox: Outbox | None = None
        self._greeting: asyncio.Future[Message | None] | None = None
        self._waiting: dict[int, asyncio.Future[JobResult | None]] = {}
        self._is_stopping = False
        self._heard_at = 0.0
        self.lost = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether the other end has loaded its model and is still there."""
        return self._outbox is not None and not self._is_stopping and not self.lost.is_set()

    def retry_after_s(
        self,
        arriving: int,  # noqa: ARG002 - as the other engines
        size_bytes: int,  # noqa: ARG002 - as above
        tenant: str | None = None,  # noqa: ARG002 - as above
    ) -> float | None:
        """Return nothing: what waits is known at the other end, which refuses by itself."""
        return None

    def silence_s(self, now: float) -> float:
        """Return for how long an answer is awaited and nothing was heard; 0 if nothing is awaited."""
        return now - self._heard_at if self._waiting else 0.0

    async def start(self) -> None:
        """Connect, and wait until the other end has loaded its model.

        Raises:
            EngineUnavailable: It hung up, or speaks another version.
            HeadraceError: Why it could not load the model.
        """
        outbox, greeting = Outbox(), asyncio.get_running_loop().create_future()
        self._greeting = greeting
        try:
            await self._connect(lambda: Inbox(outbox, self._take, self._end))
            self._check(await greeting)
        except BaseException:
            outbox.close()
            raise
        self._outbox = outbox

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        Raises:
            EngineUnavailable: The connection was lost before the answer came.
            RequestTooLarge: The job is larger than a message can be.
            HeadraceError: What the other end raised.
        """
        if job.number in self._waiting:  # the same job once more while it runs
            job = replace(job, number=number_job())
        result = await self._ask(job.number, Run(job))
        if result is None:
            raise EngineUnavailable(f"the engine of {self._model!r} confused its answers; ask again")
        return result

    async def probe(self) -> None:
        """Run one real inference.

        Raises:
            HeadraceError: The model does not answer.
        """
        number = number_job()
        await self._ask(number, Probe(number))

    async def aclose(self) -> None:
        """Refuse new jobs, wait for the answers to those sent, hang up; may be called twice."""
        self._is_stopping = True
        try:
            if self._waiting:
                await asyncio.wait(self._waiting.values())
        finally:
            self.abort()

    def abort(self) -> None:
        """Hang up at once: what waits for an answer gets an error."""
        self._is_stopping = True
        if self._outbox is not None:
            self._outbox.close()
        self._lose()

    def _check(self, message: Message | None) -> None:
        match message:
            case Ready(version) if version == VERSION:
                return
            case StartFailed(error):
                raise error
            case None:
                raise EngineUnavailable(f"the engine of {self._model!r} died while it started; its log may say why")
        raise EngineUnavailable(
            f"the engine of {self._model!r} does not speak version {VERSION} of the protocol; run one version"
        )

    async def _ask(self, number: int, message: Run | Probe) -> JobResult | None:
        if self._is_stopping:
            raise ServiceStopping(f"{self._model!r} is stopping; ask another replica, or again later")
        if self._outbox is None or self.lost.is_set():
            raise self._unavailable()
        try:
            self._outbox.send(message)
        except ValueError as error:
            raise RequestTooLarge("the texts are larger together than a message can be; send fewer at once") from error
        future: asyncio.Future[JobResult | None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._heard_at = time.monotonic()
        self._waiting[number] = future
        try:
            return await future
        except asyncio.CancelledError:
            self._outbox.send(Cancel(number))
            raise
        finally:
            del self._waiting[number]

    def _take(self, message: Message) -> None:
        self._heard_at = time.monotonic()
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(message)
            return
        match message:
            case Done(number, result):
                self._resolve(number, result)
            case Probed(number):
                self._resolve(number, None)
            case Refused(number, error):
                future = self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_exception(error)
            case BatchSeen() as seen:
                self._observer.observe(
                    BatchFinished(
                        model=self._model,
                        texts=seen.texts,
                        tokens=seen.tokens,
                        padded_tokens=seen.padded_tokens,
                        failed=seen.failed,
                        run_s=seen.run_s,
                    )
                )
            case QueueSeen(waiting):
                self._observer.observe(QueueChanged(model=self._model, waiting=waiting))
            case _:
                kind = type(message).__name__
                structlog.get_logger().warning("engine.message_unexpected", model=self._model, kind=kind)

    def _resolve(self, number: int, result: JobResult | None) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():  # else its caller has left
            future.set_result(result)

    def _end(self, error: ValueError | None) -> None:
        if error is not None:
            structlog.get_logger().error("engine.frame_invalid", model=self._model, reason=str(error))
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(None)
        self._lose()

    def _lose(self) -> None:
        self.lost.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._unavailable())

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(f"the engine of {self._model!r} is gone; ask again")
