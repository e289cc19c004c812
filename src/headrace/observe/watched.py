"""What is told of a request when it ends, noted while it is answered."""

import asyncio
import time
from typing import Self

from headrace.errors import HeadraceError, LimitExceeded
from headrace.observe.base import Observer, RequestFinished
from headrace.observe.traces import TRACE, Step
from headrace.types import Answer, Request, Timings


class Watched:
    """What an observer is told of a request when it ends, as far as it came.

    Attributes:
        answer: What it gets.
        model: Which one answers it.
        revision: Of that model.
    """

    __slots__ = (
        "_began",
        "_observer",
        "_request",
        "_step",
        "_steps",
        "_trace",
        "answer",
        "model",
        "revision",
        "started",
    )

    def __init__(self, observer: Observer, request: Request, started: float) -> None:
        self._observer = observer
        self._request = request
        self.started = started
        self.model = self.revision = ""
        self.answer: Answer | None = None
        trace = self._trace = TRACE.get()
        self._steps: list[Step] | None = None  # of a request of which no spans are kept
        if trace is not None and trace.is_sampled:
            self._steps, self._step, self._began = [], "authorise", started

    def enter(self, step: str) -> None:
        """Say what is done from now on, until something else is."""
        if self._steps is not None and step != self._step:
            self._leave(self._steps)
            self._step = step

    def ran(self, timings: Timings) -> None:
        """Say that the engine has answered, and where the time went that was spent waiting for it.

        What is told of the engine has no place in time, but for its order and that it ended now. Of several texts each
        time is the longest, so that the times together can be longer than they were waited for; then the first ones
        are cut.
        """
        if self._steps is None:
            return
        at = now = time.monotonic()
        laid: list[Step] = []
        for name, took_s in (("run", timings.run_s), ("queue", timings.queue_s), ("tokenize", timings.tokenize_s)):
            start = max(self._began, at - took_s)
            laid.append(Step(name, start - self.started, at - start))
            at = start
        self._steps += reversed(laid)
        self._step, self._began = "finish", now

    def _leave(self, steps: list[Step]) -> None:
        now = time.monotonic()
        steps.append(Step(self._step, self._began - self.started, now - self._began))
        self._began = now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._steps is not None:
            self._leave(self._steps)
        answer = self.answer
        self._observer.observe(
            RequestFinished(
                caller=self._request.caller,
                task=self._request.task,
                model=self.model,
                outcome=_outcome(error),
                inputs=len(self._request.inputs),
                cached=answer.cached if answer else 0,
                tokens=answer.tokens if answer else 0,
                timings=answer.timings if answer else Timings(total_s=time.monotonic() - self.started),
                revision=self.revision,
                limit=error.limit if isinstance(error, LimitExceeded) else "",
                trace=self._trace,
                steps=() if self._steps is None else tuple(self._steps),
            )
        )


def _outcome(error: BaseException | None) -> str:
    match error:
        case None:
            return "ok"
        case HeadraceError():
            return error.code
        case asyncio.CancelledError():
            return "caller.left"
    return "internal.error"
