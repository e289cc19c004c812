"""What each version of a model has done since the process began, in numbers that only grow.

Other than metrics they are of one version, and can be read one by one.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from headrace.observe.base import BatchFinished, Fact, Observer, RequestFinished

# Some hundred bytes each, and 60 for each size of batch. What a server has loaded is far less; versions come and go.
_MAX_VERSIONS: Final = 256
_MAX_SIZE: Final = 512
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """How often something was done, and how many nanoseconds it took together."""

    count: int = 0
    ns: int = 0

    def plus(self, seconds: float) -> "Times":
        """Return the same with one more."""
        return Times(self.count + 1, self.ns + round(seconds * _NS))


NEVER: Final = Times()


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a version has done.

    Attributes:
        succeeded: Requests that were answered, with all their time in the service.
        failed: Requests that were not; also those whose caller left.
        queued: Requests of which texts were computed, with the longest wait for a batch.
        tokenized: The same, with the longest tokenization.
        computed: The same, with the longest run.
        remembered: Requests of which all texts were remembered, with all their time in the service.
        last_ms: Unix time of the last answer, in milliseconds; 0 before the first.
        texts: Texts that left a batch with a result, those of probes and of a shadow as well.
        batches: Batches that gave a result.
        sizes: Such batches by how many texts they had, with their runs; none of over 512 texts.
    """

    succeeded: Times = NEVER
    failed: Times = NEVER
    queued: Times = NEVER
    tokenized: Times = NEVER
    computed: Times = NEVER
    remembered: Times = NEVER
    last_ms: int = 0
    texts: int = 0
    batches: int = 0
    sizes: dict[int, Times] = field(default_factory=dict)


class VersionCounts:
    """Counts what facts say of versions; of more than 256, those that nothing was heard of longest are forgotten."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], Counts] = OrderedDict()

    def observe(self, fact: Fact) -> None:
        """Count a fact, if it says of which version it is."""
        match fact:
            case RequestFinished(revision=revision) if revision:
                _count_request(self._find(fact.model, revision), fact)
            case BatchFinished(revision=revision) if revision:
                _count_batch(self._find(fact.model.partition("@")[0], revision), fact)  # a shadow is called NAME@shadow

    def read(self, model: str, revision: str) -> Counts:
        """Return what a version has done so far; what it does from now on is not in it."""
        counts = self._counts.get((model, revision), Counts())
        return replace(counts, sizes=dict(counts.sizes))

    def _find(self, model: str, revision: str) -> Counts:
        key = model, revision
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = Counts()
            if len(self._counts) > _MAX_VERSIONS:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end(key)
        return counts


def _count_request(counts: Counts, fact: RequestFinished) -> None:
    times = fact.timings
    if fact.outcome != "ok":
        counts.failed = counts.failed.plus(times.total_s)
        return
    counts.succeeded = counts.succeeded.plus(times.total_s)
    counts.last_ms = time.time_ns() // 1_000_000
    if times.run_s > 0:
        counts.queued = counts.queued.plus(times.queue_s)
        counts.tokenized = counts.tokenized.plus(times.tokenize_s)
        counts.computed = counts.computed.plus(times.run_s)
    elif fact.cached:  # else another request computed the same texts, and this one waited for it
        counts.remembered = counts.remembered.plus(times.total_s)


def _count_batch(counts: Counts, fact: BatchFinished) -> None:
    if fact.failed == fact.texts:
        return
    counts.texts += fact.texts - fact.failed
    counts.batches += 1
    if fact.texts <= _MAX_SIZE:
        counts.sizes[fact.texts] = counts.sizes.get(fact.texts, Times()).plus(fact.run_s)


class OfVersion:
    """Says of which version the batches are that an engine tells of: an engine knows the name of its model only."""

    def __init__(self, revision: str, observer: Observer) -> None:
        self._revision = revision
        self._observer = observer

    def observe(self, fact: Fact) -> None:
        """Pass a fact on."""
        told = replace(fact, revision=self._revision) if isinstance(fact, BatchFinished) else fact
        self._observer.observe(told)
