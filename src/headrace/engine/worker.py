"""The side of the engine: answers jobs that come over a stream, and lives as long as somebody is at the other end.

What a process needs to be such a worker is here as well: which engine it runs, its program says
(``headrace/engine_process.py``).
"""

import asyncio
import ctypes
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import structlog

from headrace.engine.activity import Activity
from headrace.engine.base import Engine, Watch
from headrace.engine.inbox import Inbox
from headrace.engine.outbox import Outbox
from headrace.engine.wire import (
    BatchSeen,
    Cancel,
    Done,
    Message,
    Probe,
    Probed,
    Ready,
    Refused,
    Run,
    StartFailed,
    encode,
)
from headrace.errors import EngineFailed, HeadraceError
from headrace.memory import settle_memory
from headrace.observe.base import BatchFinished, Fact, Observer, QueueChanged

MakeEngine = Callable[[Observer, Watch], Engine]

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Handles:
    """What a supervisor gives its worker: the last four words of its command line.

    Attributes:
        stream: Descriptor of the connected socket.
        activity: Descriptor of the shared memory.
        slots: Rows of the shared memory.
        max_texts: Texts that fit into a row.
    """

    stream: int
    activity: int
    slots: int
    max_texts: int

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Read them from the command line."""
        return cls(*map(int, words[-4:]))

    def words(self) -> list[str]:
        """Return them as they stand on the command line."""
        return [str(number) for number in (self.stream, self.activity, self.slots, self.max_texts)]


def run_worker(
    handles: Handles,
    make_engine: MakeEngine,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    on_loaded: Callable[[], None] | None = None,
) -> None:
    """Be a worker until the supervisor hangs up.

    Args:
        handles: What the supervisor gave.
        make_engine: Given who hears of batches and who watches which texts run, returns the engine.
        loop_factory: Makes the event loop; by default asyncio's own.
        on_loaded: Called when the model is loaded, before anybody is answered.
    """
    _live_as_a_child()
    activity = Activity(handles.activity, handles.slots, handles.max_texts)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_work(socket.socket(fileno=handles.stream), activity, make_engine, on_loaded))


class FactSender:
    """An observer that passes on what happens in the engine."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def observe(self, fact: Fact) -> None:
        """Pass a fact on."""
        match fact:
            case BatchFinished():
                self._outbox.tell(BatchSeen(fact.texts, fact.tokens, fact.padded_tokens, fact.failed, fact.run_s))
            case QueueChanged():
                self._outbox.tell_queue(fact.waiting)


class Connection:
    """Answers what comes over one stream.

    Args:
        engine: Started already.
        outbox: Where answers go.
    """

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, stream: socket.socket) -> None:
        """Answer until the other end hangs up; then drop what it asked for.

        Raises:
            ValueError: What came is no message.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Inbox(self._outbox, self._take, self._end), sock=stream)
            await self._ended
        finally:
            self._outbox.close()
            for task in self._tasks.values():
                task.cancel()

    def _take(self, message: Message) -> None:
        match message:
            case Run(job):
                self._spawn(job.number, message)
            case Probe(number):
                self._spawn(number, message)
            case Cancel(number) if number in self._tasks:
                self._tasks[number].cancel()

    def _end(self, error: ValueError | None) -> None:
        if self._ended.done():
            return  # ``serve`` was cancelled
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def _spawn(self, number: int, message: Run | Probe) -> None:
        task = self._tasks[number] = asyncio.create_task(self._answer(number, message))
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _answer(self, number: int, message: Run | Probe) -> None:
        try:
            self._outbox.send(await self._ask(message))
        except HeadraceError as error:
            self._outbox.send(Refused(number, error))
        except Exception:  # noqa: BLE001 - whatever it is, the other end must hear that there will be no answer
            structlog.get_logger().exception("engine.job_failed")
            self._outbox.send(Refused(number, EngineFailed("the engine failed; its log has more")))

    async def _ask(self, message: Run | Probe) -> Done | Probed:
        if isinstance(message, Run):
            return Done(message.job.number, await self._engine.run(message.job))
        await self._engine.probe()
        return Probed(message.number)


async def _work(
    stream: socket.socket, activity: Activity, make_engine: MakeEngine, on_loaded: Callable[[], None] | None
) -> None:
    outbox = Outbox()
    try:
        engine = make_engine(FactSender(outbox), activity)
        await engine.start()
    except HeadraceError as error:
        with stream:
            stream.sendall(encode(StartFailed(error)))
        return
    settle_memory()
    if on_loaded is not None:
        on_loaded()
    outbox.send(Ready())
    await Connection(engine, outbox).serve(stream)
    await engine.aclose()


def _live_as_a_child() -> None:
    """Leave signals and the end to the supervisor, and leave nothing behind."""
    # Ctrl-C reaches every process of the terminal, and a stop of the service all of its processes: the supervisor
    # answers what it accepted first, and needs the engine for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A core file would hold the texts, and writing it would hold up the restart.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # The end of the stream tells as well, but not to a process that hangs in native code.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
