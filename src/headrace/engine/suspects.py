"""Which texts killed an engine: they were running when it died, so each is tried alone before others are let in."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from headrace.engine.accepted import Accepted
from headrace.engine.activity import Running
from headrace.engine.base import Job, JobResult, split_number
from headrace.engine.quarantine import Quarantine
from headrace.engine.remote import RemoteEngine
from headrace.errors import EngineUnavailable, HeadraceError, InputQuarantined
from headrace.observe.base import Observer, TextQuarantined
from headrace.types import Text, Timings

# Who sends these is not the text but an operator, or the kernel when memory is short, and that may choose anybody.
_FROM_OUTSIDE: Final = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"})
# A text that was running each time the engine was killed from outside had bad luck, or takes too much memory: its
# caller is told to come back, and it is not accused.
_MAX_KILLS: Final = 3
_DIGEST_CHARS: Final = 12
_RETRY_S: Final = 1.0


@dataclass(slots=True, eq=False)
class _Suspect:
    """A text that was running when the engine died.

    Attributes:
        deaths: How often that was.
        trial: Number of the job in which it runs alone now.
    """

    accepted: Accepted
    index: int
    deaths: int = 1
    trial: int = 0

    @property
    def text(self) -> Text:
        return self.accepted.job.texts[self.index]

    @property
    def is_settled(self) -> bool:
        return self.accepted.is_over or self.accepted.items[self.index] is not None


class Suspects:
    """Knows what was sent to an engine, whom to suspect when it dies, and whom to keep from it.

    Args:
        model: Name of the model, for messages and facts.
        observer: Hears of quarantines.
        leave: Told the number of a job that nobody waits for any more.
    """

    def __init__(self, model: str, observer: Observer, leave: Callable[[int], None]) -> None:
        self._model = model
        self._observer = observer
        self._leave = leave
        self._quarantine = Quarantine()
        self._sent: dict[int, tuple[Accepted, list[int]]] = {}
        self._suspects: deque[_Suspect] = deque()

    @property
    def is_clear(self) -> bool:
        """Whether nothing is on its way and nobody is suspected."""
        return not self._sent and not self._suspects

    async def run(self, engine: RemoteEngine, accepted: Accepted) -> None:
        """Run what is missing of a job; what is in quarantine is answered without.

        If the engine dies, nothing is filled in: its texts are known to ``judge``, and the job is to be run again.

        Raises:
            HeadraceError: The engine refused the job.
        """
        indexes = self._refuse_known(accepted)
        if not indexes:
            return
        part = accepted.part(indexes)
        self._sent[part.number] = (accepted, indexes)
        try:
            result = await engine.run(part)
        except EngineUnavailable:
            if not engine.lost.is_set():
                raise
            return  # the entry stays: ``judge`` needs it
        except BaseException:
            self._leave(part.number)
            self._sent.pop(part.number, None)
            raise
        del self._sent[part.number]
        accepted.take(indexes, result)

    def judge(self, running: Iterable[Running], reason: str) -> int:
        """Find out who was running when the engine died, and return how many suspects that makes.

        Args:
            running: What the engine wrote down last.
            reason: Why it died: the name of a signal, ``hang`` or ``exit``.
        """
        # Once each: two windows of a text may run in two sessions.
        numbers = dict.fromkeys(number for one in running for number in one.texts)
        if self._suspects and self._suspects[0].trial in {split_number(number)[0] for number in numbers}:
            self._sentence(self._suspects[0], reason)
        for job, index in map(split_number, numbers):
            accepted, indexes = self._sent.get(job, (None, []))
            if accepted is not None and index < len(indexes):
                self._suspects.append(_Suspect(accepted, indexes[index]))
        self._sent.clear()
        return len(self._suspects)

    async def try_alone(self, engine: RemoteEngine) -> None:
        """Run every suspect alone, until all have an answer or the engine dies."""
        while self._suspects:
            suspect = self._suspects[0]
            if not suspect.is_settled and suspect.index in self._refuse_known(suspect.accepted):
                part = suspect.accepted.part([suspect.index])
                suspect.trial = part.number
                result = await _run(engine, part)
                if result is None:
                    return
                suspect.accepted.take([suspect.index], result)
            self._suspects.popleft()

    def _refuse_known(self, accepted: Accepted) -> list[int]:
        """Answer the texts that are in quarantine, and return the indexes of those still without an answer."""
        guilty = [index for index in accepted.missing if accepted.job.texts[index] in self._quarantine]
        accepted.fill(guilty, [self._guilt()] * len(guilty))
        return accepted.missing

    def _sentence(self, suspect: _Suspect, reason: str) -> None:
        """Decide about a text that was running alone when the engine died."""
        suspect.deaths += 1
        if reason not in _FROM_OUTSIDE:
            digest = self._quarantine.add(suspect.text)
            self._observer.observe(TextQuarantined(model=self._model, digest=digest[:_DIGEST_CHARS]))
            suspect.accepted.fill([suspect.index], [self._guilt()])
        elif suspect.deaths >= _MAX_KILLS:
            killed = EngineUnavailable(
                f"the engine of {self._model!r} was killed {suspect.deaths} times on this text; ask again later",
                retry_after_s=_RETRY_S,
            )
            suspect.accepted.fill([suspect.index], [killed])

    def _guilt(self) -> InputQuarantined:
        return InputQuarantined(
            f"this text makes the engine of {self._model!r} crash or hang and is not run again; change it"
        )


async def _run(engine: RemoteEngine, part: Job) -> JobResult | None:
    """Return the answer to a text that runs alone; nothing if the engine died."""
    try:
        return await engine.run(part)
    except HeadraceError as error:
        has_died = isinstance(error, EngineUnavailable) and engine.lost.is_set()
        return None if has_died else JobResult(items=(error,), timings=Timings())
