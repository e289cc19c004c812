"""Every kind of event, written once: which fact makes it, whose it is, and what is said of it.

A new kind is an entry in ``KINDS``; the parameter of the API, its reference page and the label of the metric follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.errors import DeadlineExceeded, EngineError, LimitExceeded, QueueFull, error_classes
from headrace.events.base import DROPPED, MISSED, Value
from headrace.observe.base import (
    EngineRestarted,
    Fact,
    ModelLoaded,
    RequestFinished,
    RequestsShed,
    TextQuarantined,
    VersionRefused,
    VersionSwitched,
)

# What a caller cannot mend by asking otherwise: the server's own faults, and answers that come too late.
_FAILURES: Final = frozenset(
    {"internal.error", DeadlineExceeded.code, *(each.code for each in error_classes(EngineError))}
)
_FULL: Final = "Requests were refused because more work is waiting than is worth accepting."
_MOST_CHARS: Final = 500  # of a name that others gave, and of what is said for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of event is made of a fact.

    Attributes:
        subject: What happened.
        meaning: The same for people, as a sentence.
        fact: Of which it is made.
        fields: What is said of it. What is the same within a second is told together, so nothing of it is a measure
            where there may be many.
        has_happened: Whether the fact is one.
        tenant: Whose it is.
        count: How many times it happened.
    """

    subject: str
    meaning: str
    fact: type[Fact]
    fields: Callable[[Any], Mapping[str, Value]]
    has_happened: Callable[[Any], bool] = lambda _: True
    tenant: Callable[[Any], str | None] = lambda _: None
    count: Callable[[Any], int] = lambda _: 1


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        subject="model.loaded",
        meaning="A version of a model is loaded and has answered a probe.",
        fact=ModelLoaded,
        fields=lambda fact: {"model": fact.model, "revision": fact.revision, "took_ms": round(fact.took_s * 1000)},
    ),
    Kind(
        subject="version.switched",
        meaning="A version of a model answers as `role` from now on: `champion`, `canary` or `shadow`.",
        fact=VersionSwitched,
        fields=lambda fact: {"model": fact.model, "revision": fact.revision, "role": fact.role},
    ),
    Kind(
        subject="version.refused",
        meaning="A version that should answer could not be loaded (`code`, `reason`); what answered before answers on.",
        fact=VersionRefused,
        fields=lambda fact: {
            "model": fact.model,
            "revision": fact.revision,
            "code": fact.code,
            "reason": fact.reason[:_MOST_CHARS],
        },
    ),
    Kind(
        subject="engine.restarted",
        meaning="The process of an engine died of `reason` (a signal, `hang` or `exit`) and was replaced in `down_ms`.",
        fact=EngineRestarted,
        fields=lambda fact: {
            "model": fact.model,
            "reason": fact.reason,
            "suspects": fact.suspects,
            "down_ms": round(fact.down_s * 1000),
        },
    ),
    Kind(
        subject="text.quarantined",
        meaning="A text killed an engine twice, and is refused from now on; `sha256` begins its digest. Not shown to"
        " tenants, since nobody knows whose it is.",
        fact=TextQuarantined,
        fields=lambda fact: {"model": fact.model, "sha256": fact.digest},
        tenant=lambda _: "",
    ),
    Kind(
        subject="limit.exceeded",
        meaning="`caller` used up a `limit`, and was refused.",
        fact=RequestFinished,
        fields=lambda fact: {"caller": fact.caller.name[:_MOST_CHARS], "task": fact.task, "limit": fact.limit},
        has_happened=lambda fact: fact.outcome == LimitExceeded.code,
        tenant=lambda fact: fact.caller.tenant,
    ),
    Kind(
        subject="queue.full",
        meaning=_FULL,
        fact=RequestsShed,
        fields=lambda fact: {"task": fact.task},
        count=lambda fact: fact.count,
    ),
    Kind(
        subject="queue.full",
        meaning=_FULL,
        fact=RequestFinished,
        fields=lambda fact: {"task": fact.task},
        has_happened=lambda fact: fact.outcome == QueueFull.code,
    ),
    Kind(
        subject="request.failed",
        meaning="A request of `caller` got no answer, and `code` says why: a fault of the server, or the deadline.",
        fact=RequestFinished,
        fields=lambda fact: {
            "caller": fact.caller.name[:_MOST_CHARS],
            "model": fact.model,
            "task": fact.task,
            "code": fact.outcome,
        },
        has_happened=lambda fact: fact.outcome in _FAILURES,
        tenant=lambda fact: fact.caller.tenant,
    ),
)

SUBJECTS: Final[Mapping[str, str]] = {kind.subject: kind.meaning for kind in KINDS}
"""What a reader can ask for, and what each means."""

TOLD: Final[Mapping[str, str]] = {
    MISSED: "Events happened that you are not told: `after` is not kept any more, or Redis was away (`reason`).",
    DROPPED: "You are told nothing more, and `reason` says why: `reader.slow`, `server.stopping`, or the code of the"
    " error that your key gives by now.",
}
"""What a reader is told of its own reading, whatever it asked for."""
