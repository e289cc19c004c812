"""A version that is asked again what the champion was asked, compared with it, and never heard.

Nobody waits for it, and it waits for everybody: its process computes when nothing else wants the processor, few
requests are repeated at a time, and what it has no time for is left out and counted.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.engine.base import Job, Output
from headrace.engine.registry import LoadedModel, Registry
from headrace.errors import HeadraceError
from headrace.observe.base import Observer, ShadowCompared
from headrace.options import Options
from headrace.tasks.base import Task
from headrace.types import Result, Text

_MOST: Final = 4  # requests at a time
# Between two requests that are repeated. To send one and to compare what comes back takes the process that answers some
# 0.7 ms, and what a shadow computes at the lowest priority still takes caches, and half of a core from whoever shares
# it. At 490 requests/s the p99 of short texts was 1.4 times as long when each was repeated that could be. With 20 a
# second it was 1.6 times as long on two cores that share one, at 70 % load, which leaves them a tenth of their time.
_PAUSE_S: Final = 0.05
_BUSY_PAUSE_S: Final = 1.0  # while others are being answered
_LIMIT_S: Final = 30.0  # an answer that takes longer says nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that the champion has answered.

    Attributes:
        texts: What it had to read.
        results: What it made of each.
    """

    task: Task
    options: Options
    texts: tuple[Text, ...]
    results: tuple[Result, ...]


class Shadow:
    """Repeats requests.

    Args:
        registry: Keeps a version as long as it is used.
        observer: Hears how far the answers agree.
    """

    def __init__(self, registry: Registry, observer: Observer) -> None:
        self._registry = registry
        self._observer = observer
        self._running: set[asyncio.Task[None]] = set()
        self._repeated_at = -math.inf

    def repeat(self, model: LoadedModel, answered: Answered, *, is_busy: bool) -> None:
        """Ask a version what the champion has answered; returns at once.

        Args:
            model: The version.
            answered: The request.
            is_busy: Whether the champion is answering others meanwhile.
        """
        now = time.monotonic()
        pause_s = _BUSY_PAUSE_S if is_busy else _PAUSE_S
        if now - self._repeated_at < pause_s or len(self._running) >= _MOST:
            self._tell(model, "skipped", answered)
            return
        self._repeated_at = now
        running = asyncio.create_task(self._compare(model, answered))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        """Repeat nothing any more."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _compare(self, model: LoadedModel, answered: Answered) -> None:
        started = time.monotonic()
        job = Job(texts=answered.texts, truncate=answered.options.truncate, deadline=started + _LIMIT_S)
        try:
            with self._registry.hold(model):
                async with asyncio.timeout(_LIMIT_S):
                    items = (await model.engine.run(job)).items
        except (HeadraceError, TimeoutError) as error:
            code = error.code if isinstance(error, HeadraceError) else "deadline.exceeded"
            self._tell(model, code, answered)
            return
        agreements = []
        for text, item, wanted in zip(answered.texts, items, answered.results, strict=True):
            agreements.append(_agree(model, answered, text, item, wanted))
        self._tell(model, "compared", answered, agreements, time.monotonic() - started)

    def _tell(
        self,
        model: LoadedModel,
        outcome: str,
        answered: Answered,
        agreements: Sequence[float] = (),
        total_s: float = 0.0,
    ) -> None:
        self._observer.observe(
            ShadowCompared(
                model=model.name,
                outcome=outcome,
                texts=len(answered.texts),
                agreements=tuple(agreements),
                total_s=total_s,
            )
        )


def _agree(model: LoadedModel, answered: Answered, text: Text, item: Output | HeadraceError, wanted: Result) -> float:
    """Return how far a version agrees with the champion on a text; an error does not."""
    if isinstance(item, HeadraceError):
        return 0.0
    task = answered.task
    try:
        found = task.finish(text, item.windows, item.truncated, answered.options, model.manifest.traits)
    except HeadraceError:  # such as of a version whose mask is another
        return 0.0
    return task.agree(wanted, found)
