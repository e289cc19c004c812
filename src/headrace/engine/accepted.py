"""A job that a supervisor has accepted, while its texts are answered, perhaps by one engine process after another."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.engine.base import Job, JobResult, Output
from headrace.errors import HeadraceError
from headrace.types import Timings


@dataclass(slots=True, eq=False)
class Accepted:
    """A job, and the answers that are there already.

    Attributes:
        items: One answer for each text, nothing where it is still to come.
        news: Set when there is something to do for who waits: an engine is up, or the last answer is there.
        is_over: Nobody waits for it any more.
    """

    job: Job
    items: list[Output | HeadraceError | None] = field(init=False)
    timings: Timings = field(default_factory=Timings)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def __post_init__(self) -> None:
        self.items = [None] * len(self.job.texts)

    @property
    def missing(self) -> list[int]:
        """Indexes of the texts without an answer."""
        return [index for index, item in enumerate(self.items) if item is None]

    def part(self, indexes: Sequence[int]) -> Job:
        """Return a job with some of the texts, under a number of its own."""
        texts = tuple(self.job.texts[index] for index in indexes)
        job = self.job
        return Job(texts=texts, truncate=job.truncate, deadline=job.deadline, tenant=job.tenant)

    def fill(self, indexes: Sequence[int], items: Sequence[Output | HeadraceError]) -> None:
        """Take answers; the first answer to a text counts."""
        for index, item in zip(indexes, items, strict=True):
            if self.items[index] is None:
                self.items[index] = item
        if not self.missing:
            self.news.set()

    def fail(self, error: HeadraceError) -> None:
        """Answer what is missing with an error."""
        missing = self.missing
        self.fill(missing, [error] * len(missing))

    def take(self, indexes: Sequence[int], result: JobResult) -> None:
        """Take the answer to a part. Parts run at the same time, so the longest of their times count."""
        old, new = self.timings, result.timings
        self.timings = Timings(
            queue_s=max(old.queue_s, new.queue_s),
            tokenize_s=max(old.tokenize_s, new.tokenize_s),
            run_s=max(old.run_s, new.run_s),
        )
        self.fill(indexes, result.items)

    def result(self) -> JobResult:
        """Return the whole answer; nothing may be missing."""
        return JobResult(items=tuple(item for item in self.items if item is not None), timings=self.timings)
