"""An engine in a child process that may crash or hang: what it costs is a restart.

Native code can end its process (SIGSEGV) or never return. The supervisor notices, starts another process and runs
again what was not answered; inference is pure, so that changes no answer. Texts that were running when the process
died are suspects: each runs alone before anything else does. One that kills the engine alone is put in quarantine
and answered with an error of its own, from then on without being run.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from headrace.engine.accepted import Accepted
from headrace.engine.activity import make_activity
from headrace.engine.admission import Admission, Bounds
from headrace.engine.base import Job, JobResult
from headrace.engine.process import EngineProcess
from headrace.engine.remote import RemoteEngine
from headrace.engine.suspects import Suspects
from headrace.engine.watchdog import Watchdog
from headrace.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    HeadraceError,
    ServiceStopping,
)
from headrace.observe.base import BatchFinished, EngineRestarted, Fact, Observer
from headrace.settings import EngineSettings

_RETRY_S: Final = 1.0  # told to a caller that is refused while the engine is down
_LOOKS: Final = 5  # at what runs, while the smallest batch still has time


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a supervisor waits, in seconds.

    Attributes:
        start_s: For an engine that loads its model; large graphs on a slow disk take minutes.
        stop_s: For an engine without work to end by itself, before it is killed.
        batch_s: For the smallest batch, before it counts as hanging. It takes 10 ms; two such waits and restarts
            still fit into the 30 s that a request has by default, so its neighbours are answered.
        ready_s: For another engine, before probes are told: requests just wait that long.
        pause_s: After a start that failed; doubled each time.
        max_pause_s: The longest of these pauses.
        max_starts: Starts that may fail in a row (a number) before callers are refused.
    """

    start_s: float = 300.0
    stop_s: float = 2.0
    batch_s: float = 5.0
    ready_s: float = 2.0
    pause_s: float = 0.5
    max_pause_s: float = 30.0
    max_starts: int = 3


@dataclass(frozen=True, slots=True)
class _Child:
    process: EngineProcess
    engine: RemoteEngine


class SupervisedEngine:
    """Runs one model in a child process and replaces the process when it dies.

    Args:
        model: Name of the model, for messages and facts.
        command: The program of the child and its arguments.
        settings: How many texts may wait, and in how many sessions they run.
        observer: Hears the child's facts, and of restarts and quarantines.
        patience: How long it waits for what.
    """

    def __init__(
        self,
        model: str,
        command: Sequence[str],
        settings: EngineSettings,
        observer: Observer,
        patience: Patience | None = None,
    ) -> None:
        self._model = model
        self._command = command
        self._observer = observer
        self._patience = patience or Patience()
        self._activity = make_activity(settings.sessions + 1, settings.max_queued_texts)
        self._admission = Admission(model, Bounds.of(settings))
        self._watchdog = Watchdog(self._patience.batch_s)
        self._suspects = Suspects(model, observer, self._activity.leave)
        self._accepted: set[Accepted] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._child: _Child | None = None
        self._is_open = self._is_stopping = self._is_given_up = False
        self._down_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_ready(self) -> bool:
        """Whether a job given now would be run soon; a short restart does not count."""
        if self._task is None or self._is_stopping or self._is_given_up:
            return False
        return self._down_since is None or time.monotonic() - self._down_since < self._patience.ready_s

    def retry_after_s(self, arriving: int, size_bytes: int, tenant: str | None = None) -> float | None:
        """Return the time until a job of one text could be let in; nothing if it could be now."""
        return self._admission.retry_after_s(arriving, size_bytes, tenant)

    @property
    def pid(self) -> int | None:
        """The process id of the child, if there is one."""
        return self._child.process.pid if self._child else None

    async def start(self) -> None:
        """Start the child and wait until it has answered a probe.

        Raises:
            EngineUnavailable: It died each time it was started.
            HeadraceError: Why it could not load the model.
        """
        self._child = await self._start_patiently(is_first=True)
        self._is_open = True
        self._task = asyncio.create_task(self._supervise(self._child))
        self._task.add_done_callback(self._fail_if_broken)

    async def run(self, job: Job) -> JobResult:
        """Answer every text of a job, with an output or with an error of its own.

        A text that kills the engine is answered with ``InputQuarantined``.

        Raises:
            EngineUnavailable: The child cannot be started again; that is still being tried.
            QueueFull: The job's turn would not come soon enough, or in time.
            RequestTooLarge: The job alone is more than may wait.
            ServiceStopping: ``aclose`` was called.
        """
        if self._is_stopping or self._task is None:
            raise ServiceStopping(f"{self._model!r} is not running; ask another replica, or again later")
        if self._is_given_up:
            raise self._unavailable()
        with self._admission.let_in(job):  # once, however often it runs: a restart does not send it back to the door
            accepted = Accepted(job)
            self._accepted.add(accepted)
            self._idle.clear()
            self._set_timer()
            try:
                result = await self._answer(accepted)
            finally:
                accepted.is_over = True
                self._accepted.discard(accepted)
                if not self._accepted:
                    self._idle.set()
        self._admission.learn(job, result)
        return result

    async def probe(self) -> None:
        """Run one real inference; while the child restarts there is nothing to ask.

        Raises:
            HeadraceError: The model does not answer.
        """
        if self._child is None or not self._is_open:
            raise self._unavailable()
        await self._child.engine.probe()

    async def aclose(self) -> None:
        """Refuse new jobs, finish those accepted, end the child; may be called twice."""
        self._is_stopping = True
        try:
            await self._idle.wait()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            if self._child is not None:
                await self._child.engine.aclose()
                await self._child.process.end(self._patience.stop_s)
        finally:  # also when the wait was cut off: nobody may be left waiting, and no process behind
            self._abort()

    def observe(self, fact: Fact) -> None:
        """Learn from a fact of the child, and pass it on."""
        if isinstance(fact, BatchFinished):
            self._watchdog.learn(fact)
            if self._is_open:  # a restart, and texts that are tried alone, would pass for a slow engine
                self._admission.count(fact)
        self._observer.observe(fact)

    async def _answer(self, accepted: Accepted) -> JobResult:
        while accepted.missing:
            child = self._child
            if child is None or not self._is_open or child.engine.lost.is_set():
                await self._wait(accepted)
            else:
                await self._suspects.run(child.engine, accepted)
        return accepted.result()

    async def _wait(self, accepted: Accepted) -> None:
        """Wait for an engine, or for an answer that came another way, but not over the deadline."""
        accepted.news.clear()
        try:
            async with asyncio.timeout(accepted.job.deadline - time.monotonic()):
                await accepted.news.wait()
        except TimeoutError:
            accepted.fail(DeadlineExceeded("the deadline passed while the engine was restarted; ask again"))

    async def _supervise(self, child: _Child) -> None:
        while True:
            await child.engine.lost.wait()
            died_at = time.monotonic()
            self._is_open = False
            self._down_since = self._down_since or died_at
            reason = await child.process.end(self._patience.stop_s)
            suspects = self._suspects.judge(self._activity.read(), reason)
            child = self._child = await self._start_patiently(is_first=False)
            down_s = time.monotonic() - died_at
            self._observer.observe(EngineRestarted(model=self._model, reason=reason, suspects=suspects, down_s=down_s))
            await self._suspects.try_alone(child.engine)
            if not child.engine.lost.is_set():
                self._open()

    def _open(self) -> None:
        self._is_open, self._is_given_up, self._down_since = True, False, None
        self._admission.resume()
        for accepted in self._accepted:
            accepted.news.set()

    async def _start_patiently(self, *, is_first: bool) -> _Child:
        """Start a child, again and again if need be.

        The first start of all is given up after some attempts: then whoever starts the service must know.
        """
        failed, pause_s = 0, self._patience.pause_s
        while True:
            try:
                return await self._start()
            except HeadraceError as error:
                failed += 1
                if is_first and (failed == self._patience.max_starts or not isinstance(error, EngineUnavailable)):
                    raise
                structlog.get_logger().error(
                    "engine.start_failed", model=self._model, code=error.code, error=error.message, failed=failed
                )
            if failed >= self._patience.max_starts:
                self._give_up()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._patience.max_pause_s)

    async def _start(self) -> _Child:
        self._activity.clear()
        try:
            process = EngineProcess(self._command, self._activity)
        except OSError as error:
            raise EngineUnavailable(f"no process for {self._model!r} can be started: {error.strerror}") from error
        engine = RemoteEngine(self._model, process.connect, self)
        with contextlib.ExitStack() as undo:  # on cancellation as well: no process may be left behind
            undo.callback(process.reap)
            undo.callback(engine.abort)
            await self._load(process, engine)
            undo.pop_all()
        return _Child(process, engine)

    async def _load(self, process: EngineProcess, engine: RemoteEngine) -> None:
        try:
            async with asyncio.timeout(self._patience.start_s):
                await engine.start()
                await engine.probe()
        except EngineUnavailable as error:
            reason = await process.end(self._patience.stop_s)
            raise EngineUnavailable(
                f"the engine of {self._model!r} died while it started ({reason}); its log may say why"
            ) from error
        except TimeoutError as error:
            raise EngineUnavailable(
                f"the engine of {self._model!r} did not start in {self._patience.start_s:g} s; ask again later"
            ) from error

    def _give_up(self) -> None:
        """Refuse callers, those that wait too, until a start succeeds."""
        self._is_given_up = True
        for accepted in self._accepted:
            accepted.fail(self._unavailable())

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"the engine of {self._model!r} is being restarted; ask again later", retry_after_s=_RETRY_S
        )

    def _set_timer(self) -> None:
        """See to it that what runs is looked at; without work there is no timer."""
        if self._timer is None:
            period_s = self._patience.batch_s / _LOOKS
            due = time.monotonic() + period_s
            self._timer = asyncio.get_running_loop().call_later(period_s, self._look, due)

    def _look(self, due: float) -> None:
        self._timer = None
        if not self._accepted:
            return
        now = time.monotonic()
        # A look that comes late was held up together with the child: by a paused container, or a busy machine.
        was_held_up = now - due > self._patience.batch_s / _LOOKS
        if self._child is not None and not was_held_up and self._is_hanging(self._child, now):
            structlog.get_logger().error("engine.hanging", model=self._model)
            self._child.process.kill("hang")
        self._set_timer()

    def _is_hanging(self, child: _Child, now: float) -> bool:
        running = self._activity.read()
        if running:
            return self._watchdog.is_overdue(running, now)
        return child.engine.silence_s(now) > self._patience.batch_s

    def _fail_if_broken(self, task: asyncio.Task[None]) -> None:
        """Leave nobody waiting for a supervisor that is no more; it ends only by a mistake in it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger().error("engine.supervisor_failed", model=self._model, exc_info=error)
            self._is_stopping = True
            for accepted in self._accepted:
                accepted.fail(EngineFailed("the supervisor of the engine failed; the log has more"))

    def _abort(self) -> None:
        """Stop at once."""
        self._is_stopping = True
        for accepted in self._accepted:
            accepted.fail(ServiceStopping("the service stopped before the answer was there; ask again"))
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._child is not None:
            self._child.engine.abort()
            self._child.process.reap()
        self._child = None
        self._activity.close()
