"""Who may wait for one model: those whose turn comes soon enough.

A queue that is bounded in texts alone fills up under overload, and from then on everybody waits for all of it: 2,048
texts are 5 to 15 s of work, so no answer is of use to anybody although the engine never rests. The bound that helps is
one on the waiting time. By Little's law it is one on the work inside, of measured rate times allowed wait, and as the
rate is measured all the time, the bound follows it: when the CPU is taken away, fewer are let in.

Tenants take turns (``turns``), so the work that a tenant waits for is not all that is inside, but what it has there
itself and as much of each other one. Who sends ten times as much as is computed is refused for what it has inside, and
who comes between is not.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Self

from headrace.engine.base import Job, JobResult
from headrace.engine.drain import DrainRate
from headrace.engine.lengths import TokenEstimate, size_bytes
from headrace.engine.shares import Shares
from headrace.errors import QueueFull, RequestTooLarge
from headrace.observe.base import BatchFinished
from headrace.settings import EngineSettings

_INTERVAL_S: Final = 0.25  # some batches: in less the rate would be mostly noise
# Of the allowed wait: a queue that is as long as it may be must hold work for more than two intervals, or an engine
# that is behind could not be told from one that ran dry.
_INTERVAL_SHARE: Final = 0.4
_NEW_SHARE: Final = 0.1  # of the newest job in the usual one
_LEAST_RETRY_S: Final = 0.001  # told where the work inside is as good as done
# So many jobs may be inside however long they take: a handful of clients that each wait for an answer before they ask
# again is no overload, though four jobs of 32 texts are two seconds of work for a slow machine.
_FEW_JOBS: Final = 4
# And so many texts, which is less than those jobs may bring. 32 clients that ask for one text at a time have 0.2 s of
# work inside on one machine and 0.5 on another, and three times as much when long texts have gathered. With a bound on
# the time, up to 83 % of their requests were refused then, since who is refused at once asks at once again.
_FEW_TEXTS: Final = 32
# Of the time in which an answer is expected, to its deadline: what is not there by then was computed for nobody. At ten
# times the capacity in requests of 32 texts, 0.3 s of work each with a deadline of a second, 21 of 52 came too late.
_DEADLINE_MARGIN: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may be inside.

    Attributes:
        max_texts: Texts, however short.
        max_bytes: Bytes of UTF-8 of all texts. The texts alone do not bound memory: 2,048 of 32,768 characters of 4
            bytes are 256 MiB. A byte that waits is held up to ten times: as a Python string (4 bytes for each character
            of a text with one emoji) and as a frame, both in the front and in the child. So the default of 32 MiB holds
            320 MiB at the worst, and some 130 MiB with ASCII alone.
        max_wait_s: Time until the work inside is done, when another job asks to be let in and some are inside.
    """

    max_texts: float
    max_bytes: float
    max_wait_s: float

    @classmethod
    def of(cls, settings: EngineSettings) -> Self:
        """Return the bounds that the settings name."""
        return cls(
            max_texts=settings.max_queued_texts, max_bytes=settings.max_queued_bytes, max_wait_s=settings.max_wait_s
        )


UNBOUNDED: Final = Bounds(max_texts=math.inf, max_bytes=math.inf, max_wait_s=math.inf)
"""For an engine behind a supervisor, which has let its jobs in already: what it accepted must not be refused."""


@dataclass(frozen=True, slots=True, eq=False)
class _Permit:
    """What one job inside takes; kept as it was guessed, so that what leaves is exactly what entered."""

    tenant: str
    texts: int
    size_bytes: int
    tokens: int
    leave: Callable[[Self], None]

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.leave(self)


class Admission:
    """Counts work in and out. Single owner: the event loop.

    An engine with nothing to do lets in any job that it can hold: a job waits for what is ahead of it, not for itself.

    Args:
        model: Name for the messages.
        bounds: How much may be inside.
        clock: Seconds that never go backwards; that of the jobs' deadlines.
    """

    def __init__(self, model: str, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._bounds = bounds
        self._clock = clock
        self._estimate = TokenEstimate()
        self._rate = DrainRate(min(_INTERVAL_S, _INTERVAL_SHARE * bounds.max_wait_s))
        self._inside: dict[_Permit, None] = {}  # in the order they came
        self._shares = Shares()
        self._done = 0  # tokens of the oldest job that were computed, so far as is known
        self._job_tokens = 0.0  # of the usual job
        self._batch_tokens = 0
        self._progress_at = 0.0

    @property
    def texts(self) -> int:
        """Texts inside."""
        return self._shares.all.texts

    @property
    def tokens_per_s(self) -> float:
        """Tokens that are computed in a second, as far as is known."""
        return self._rate.tokens_per_s

    @property
    def wait_s(self) -> float:
        """Time until what is inside is done."""
        rate = self._rate.tokens_per_s
        # A batch tells nothing while it runs; a slow model would seem to stand still for seconds. So what it should
        # have done since the last one is taken as done, but for no more than a batch: it may hang.
        running = min(rate * (self._clock() - self._progress_at), self._batch_tokens)
        return max(0.0, self._shares.all.tokens - self._done - running) / rate

    def retry_after_s(self, arriving: int = 0, size_bytes: int = 0, tenant: str | None = None) -> float | None:
        """Return the time until a job of one text could be let in; nothing if it could be now.

        Args:
            arriving: Jobs that are on their way and come before it.
            size_bytes: What they are at most, all together.
            tenant: Whose job it is; if that is not known, all that is inside comes before it.
        """
        if len(self._inside) + arriving < _FEW_JOBS and self._is_room(1 + arriving, 1):
            return None  # nearly always; what follows would say the same
        one = _Permit(tenant or "", 1 + arriving, 1, 0, self._leave)
        # Of the usual size, but no larger than they are: after some large jobs, a burst of small ones would be refused.
        tokens = min(arriving * self._job_tokens, self._estimate.guess(size_bytes, "chunk"))
        return self._over_s(self._done_s(tenant, tokens), arriving, one)

    def let_in(self, job: Job) -> AbstractContextManager[None]:
        """Let a job in, or refuse it before any work is spent on it; it is inside until the context ends.

        Raises:
            QueueFull: Its turn would not come soon enough; says when to come back.
            RequestTooLarge: There is never room for so much.
        """
        return self._enter(job)

    def count(self, fact: BatchFinished) -> None:
        """Take note of a batch that is done."""
        if not self._inside:  # a probe, or a text whose caller has left
            return
        now = self._clock()
        # Nobody can finish more than is inside: what belongs to callers who have left must not look like speed.
        tokens = min(fact.tokens, self._shares.all.tokens)
        self._rate.count(tokens, fact.run_s, now, self._shares.all.tokens)
        # Which job they belong to is not told. The oldest is served first, so they are taken as its own, up to its
        # size: whatever is guessed wrong is wrong by one job at most, and only until that one leaves.
        self._done = min(self._done + tokens, next(iter(self._inside)).tokens)
        self._batch_tokens, self._progress_at = tokens, now

    def resume(self) -> None:
        """Go on after a time in which nothing was computed, which says nothing about the engine's speed."""
        self._progress_at = self._clock()
        self._rate.begin(self._progress_at, self._shares.all.tokens)

    def learn(self, job: Job, result: JobResult) -> None:
        """Compare the guess for a job with what came out."""
        self._estimate.learn(job.texts, result.items)

    def _enter(self, job: Job) -> _Permit:
        sizes = [size_bytes(text) for text in job.texts]
        self._refuse_for_good(sizes)
        tokens = sum(self._estimate.guess(size, job.truncate) for size in sizes)
        permit = _Permit(job.tenant, len(sizes), sum(sizes), tokens, self._leave)
        self._refuse_for_now(permit, job.deadline)
        self._inside[permit] = None
        self._shares.add(permit)
        self._job_tokens += _NEW_SHARE * (permit.tokens - self._job_tokens)
        if len(self._inside) == 1:
            self.resume()
        return permit

    def _leave(self, permit: _Permit) -> None:
        del self._inside[permit]
        self._shares.remove(permit)
        self._done = max(0, self._done - permit.tokens)
        if not self._inside:
            self._rate.end(self._clock())

    def _refuse_for_good(self, sizes: Sequence[int]) -> None:
        if len(sizes) > self._bounds.max_texts:
            raise RequestTooLarge(
                f"{len(sizes)} texts at once are more than the queue holds ({self._bounds.max_texts}); "
                "send fewer at once"
            )
        if sum(sizes) > self._bounds.max_bytes:
            raise RequestTooLarge(
                f"{sum(sizes)} bytes of text at once are more than the queue holds ({self._bounds.max_bytes}); "
                "send fewer at once"
            )

    def _refuse_for_now(self, job: _Permit, deadline: float) -> None:
        wait_s = self._done_s(job.tenant, 0)
        over_s = self._over_s(wait_s, 0, job)
        if over_s is not None:
            raise QueueFull(
                f"{self.texts} texts ({self.wait_s:.2g} s of work) wait for {self._model!r}; ask again later",
                retry_after_s=over_s,
            )
        remaining_s = deadline - self._clock()
        done_s = self._done_s(job.tenant, job.tokens)
        # A deadline that has passed is another error, and whoever forms the batches tells it. Nor does a job that is
        # large wait for a time when it is small: while nothing is ahead of it, it may try.
        needed_s = _DEADLINE_MARGIN * done_s
        if self._inside and 0 < remaining_s < needed_s:
            raise QueueFull(
                f"{self._model!r} is done with this in {done_s:.2g} s and the deadline is in {remaining_s:.2g} s; "
                "ask again later, send less at once, or allow more time",
                retry_after_s=max(min(needed_s - remaining_s, wait_s), _LEAST_RETRY_S),
            )

    def _done_s(self, tenant: str | None, tokens: float) -> float:
        """Return the time until so many tokens more of a tenant are computed; of nobody's, after all that is inside."""
        rate = self._rate.tokens_per_s
        done_s = self.wait_s + tokens / rate
        return done_s if tenant is None else min(done_s, self._shares.tokens_ahead(tenant, tokens) / rate)

    def _over_s(self, wait_s: float, arriving: int, job: _Permit) -> float | None:
        """Return the time until there is room for a job; nothing if there is now.

        Args:
            wait_s: Time until what is ahead of it is done.
            arriving: Jobs ahead of it that are not inside yet.
            job: It, with the texts of those.
        """
        bounds, inside = self._bounds, self._shares.all
        free_texts, free_bytes = bounds.max_texts - inside.texts, bounds.max_bytes - inside.size_bytes
        over_own = self._shares.over_room(job, free_texts, free_bytes)
        if self._inside and (over_own or not self._is_room(job.texts, job.size_bytes)):
            over_texts, over_bytes = job.texts - free_texts, job.size_bytes - free_bytes
            # As if the texts inside left at an even pace, and so those of its tenant.
            over_all = max(over_texts / max(1, inside.texts), over_bytes / max(1, inside.size_bytes))
            own_s = self._done_s(job.tenant, 0)
            return max(wait_s - bounds.max_wait_s, over_all * self.wait_s, over_own * own_s, _LEAST_RETRY_S)
        is_few = len(self._inside) + arriving < _FEW_JOBS or inside.texts + arriving < _FEW_TEXTS
        return None if is_few or wait_s <= bounds.max_wait_s else wait_s - bounds.max_wait_s

    def _is_room(self, texts: int, size: int) -> bool:
        bounds, inside = self._bounds, self._shares.all
        return inside.texts + texts <= bounds.max_texts and inside.size_bytes + size <= bounds.max_bytes
