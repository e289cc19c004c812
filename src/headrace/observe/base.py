"""Facts about what happened, and who wants to hear them.

Business code states facts and counts nothing; a metric or a log line is made of facts here. An observer
that fails is reported once and never fails a request.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from headrace.observe.traces import Step, Trace
from headrace.types import Caller, Timings

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, which every line written meanwhile has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished:
    """A request left the service.

    Attributes:
        caller: Who sent it; no label, since there may be any number of them.
        model: Name of a model that exists, or ``""``: never what a caller made up, so labels stay bounded.
        outcome: ``ok`` or the error's code.
        revision: Of the version that was to answer, or ``""`` as of the model.
        limit: Name of the limit that refused it; ``""`` if none did.
        trace: What it is part of, where traces are kept.
        steps: Where its time went, if spans are kept of it, in order; the last one was not finished if it failed.
    """

    caller: Caller
    task: str
    model: str
    outcome: str
    inputs: int
    cached: int
    tokens: int
    timings: Timings
    revision: str = ""
    limit: str = ""
    trace: Trace | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFinished:
    """A batch left a runtime.

    Attributes:
        tokens: Tokens of the texts.
        padded_tokens: Tokens computed, padding included.
        failed: Texts of the batch that got an error.
        revision: Of the version that ran it, or ``""`` where nobody knows.
    """

    model: str
    texts: int
    tokens: int
    padded_tokens: int
    failed: int
    run_s: float
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChanged:
    """The number of texts that wait for a model changed."""

    model: str
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRestarted:
    """The process of an engine died and another one took its place.

    Attributes:
        reason: Why it died: the name of a signal, ``hang``, or ``exit``.
        suspects: Texts it was working on; each is run alone now.
        down_s: Time from its death until another one answered a probe.
    """

    model: str
    reason: str
    suspects: int
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuarantined:
    """A text killed an engine twice, the second time alone.

    Attributes:
        digest: The first 12 hex digits of its SHA-256: enough to find it, too little to be the text.
    """

    model: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSent:
    """An HTTP response was sent, or its client left (``status`` 499).

    Attributes:
        duration_s: Time from the request's head until its answer began, or its client left.
        route: The route's template (``/api/v1/models/{name}``), or ``""`` for a path that is no route.
    """

    route: str
    method: str
    path: str
    status: int
    request_id: str
    caller: str
    duration_s: float
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A gRPC call ended.

    Attributes:
        method: Service and RPC, such as ``headrace.v1.Inference/Embed``; one that exists.
        status: The name of its code, such as ``OK``.
    """

    method: str
    status: str
    request_id: str
    caller: str
    duration_s: float
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsShed:
    """Requests were refused unread because the server is overloaded; told together, since it may be thousands a second.

    Attributes:
        route: The route's template, of what was asked for.
        count: How many since the last such fact.
    """

    task: str
    outcome: str
    route: str
    method: str
    status: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded:
    """A version of a model is in memory, answers a probe and does what its manifest says.

    Attributes:
        took_s: Time from the begin of loading.
    """

    model: str
    revision: str
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSwitched:
    """A version of a model has another role now, and answers as that.

    Attributes:
        role: ``champion``, ``canary`` or ``shadow``.
    """

    model: str
    revision: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRefused:
    """A version that the store wants could not be loaded; what answered before answers on.

    Attributes:
        code: That of the error.
        reason: What is wrong, for people.
    """

    model: str
    revision: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCompared:
    """A request was repeated at a version that is tried out as a shadow, or was to be.

    Attributes:
        outcome: ``compared``, ``skipped`` because the shadow was busy, or the code of the error it gave.
        texts: How many the request had.
        agreements: Of each text, if they were compared: 1 where the shadow says the same, 0 where it says something
            else.
        total_s: Time that the shadow took.
    """

    model: str
    outcome: str
    texts: int
    agreements: tuple[float, ...]
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPublished:
    """An event was told to whoever follows them.

    Attributes:
        subject: What happened; there is a bounded number of them.
    """

    subject: str


@dataclass(frozen=True, slots=True)
class ReaderJoined:
    """Somebody follows the events from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderLeft:
    """Somebody follows the events no more.

    Attributes:
        reason: ``client.left``, or why it was dropped.
        events: How many it was told.
        stayed_s: How long it followed.
    """

    caller: str
    reason: str
    events: int
    stayed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpansLost:
    """Spans of traces were not sent; told together.

    Attributes:
        reason: ``queue_full`` or ``export_failed``.
        count: How many since the last such fact.
    """

    reason: str
    count: int


METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Methods that there are; others were made up by whoever asked."""
# Asked every few seconds by what watches the server.
_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_QUIET_CALLS: Final = "grpc.health."


def is_probe(fact: ResponseSent | CallEnded) -> bool:
    """Tell whether something was asked by what watches the server, which would be most of what is told."""
    if isinstance(fact, ResponseSent):
        return fact.route in _QUIET_ROUTES
    return fact.method.startswith(_QUIET_CALLS)


Fact = (
    RequestFinished
    | BatchFinished
    | QueueChanged
    | EngineRestarted
    | TextQuarantined
    | ResponseSent
    | CallEnded
    | RequestsShed
    | ModelLoaded
    | VersionSwitched
    | VersionRefused
    | ShadowCompared
    | EventPublished
    | ReaderJoined
    | ReaderLeft
    | SpansLost
)


class Observer(Protocol):
    """Hears facts; must be quick and must not block."""

    def observe(self, fact: Fact) -> None:
        """Take note of a fact."""
        ...


class Observers:
    """Tells several observers; one that fails is logged the first time and does not disturb the rest."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._failed: set[str] = set()

    def observe(self, fact: Fact) -> None:
        """Pass a fact on."""
        for observer in self._observers:
            try:
                observer.observe(fact)
            except Exception:  # noqa: BLE001 - whatever an observer does, it must not fail the request
                name = type(observer).__name__
                if name not in self._failed:
                    self._failed.add(name)
                    structlog.get_logger().exception("observer.failed", observer=name)
