"""Every metric, and the page that shows them in the Prometheus text format.

Labels are bounded: tasks, models, routes and error codes exist in the program or in the store, callers are no
label, and a method or route that a client made up becomes ``other``.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from headrace.observe.base import (
    METHODS,
    BatchFinished,
    CallEnded,
    EngineRestarted,
    EventPublished,
    Fact,
    ModelLoaded,
    QueueChanged,
    ReaderJoined,
    ReaderLeft,
    RequestFinished,
    RequestsShed,
    ResponseSent,
    ShadowCompared,
    SpansLost,
    TextQuarantined,
    VersionRefused,
    VersionSwitched,
    is_probe,
)
from headrace.version import VERSION

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

# From a cached answer (under 1 ms) over one short text on one core (5 to 10 ms) to the default request timeout (30 s);
# at most a factor of 2.5 apart, so a quantile between two of them is off by that at worst.
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Powers of two, as sequence lengths and token budgets are; the default budget of 2048 tokens is in the middle.
_BATCH_TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BATCH_TOKENS: Final = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_AGREEMENTS: Final = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)
_OTHER: Final = "other"
# Facts that are counted together, in 0.25 ms: 4 us each. When 100 MB were read since, as by a model that ran, the two
# that an answer or a refusal waits for took 55 to 75 us.
_MAX_HELD: Final = 64

M = TypeVar("M", bound=MetricWrapperBase)


class _Series(dict[str | tuple[str, ...], M], Generic[M]):
    """The series of a metric by the value of its label, or by those of all its labels; made when first asked for.

    The library's ``labels`` checks the values and takes a lock each time, and a request is counted in 15 series.
    """

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: str | tuple[str, ...]) -> M:
        labels = (values,) if isinstance(values, str) else values
        series = self._metric.labels(*labels) if labels else self._metric
        self[values] = series
        return series


class _Counts:
    """A counter whose series count up together, when they are settled: the library takes two locks each time."""

    def __init__(self, counter: Counter) -> None:
        self._series = _Series(counter)
        self._added: defaultdict[str | tuple[str, ...], float] = defaultdict(float)

    def add(self, values: str | tuple[str, ...], amount: float = 1) -> None:
        """Count up a series when all are settled."""
        self._added[values] += amount

    def settle(self) -> None:
        """Count up what was added."""
        for values, amount in self._added.items():
            self._series[values].inc(amount)
        self._added.clear()


@dataclass(frozen=True, slots=True)
class MetricDescription:
    """One metric, as the reference page shows it."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


class Metrics:
    """Turns facts into metrics, in a registry of its own: two in one process do not meet.

    A fact is counted when somebody looks, or with the next ones: so a request does not wait for its own counting.
    """

    def __init__(self) -> None:
        self._held: deque[Fact] = deque()
        self._counts: list[_Counts] = []
        self._registry = CollectorRegistry()
        self.descriptions: list[MetricDescription] = []
        self._make_request_metrics()
        self._make_batch_metrics()
        self._make_engine_metrics()
        self._make_version_metrics()
        self._make_http_metrics()
        self._make_grpc_metrics()
        self._make_event_metrics()
        self._make_trace_metrics()
        self._gauge("headrace_build_info", "Always 1; the label says which version runs.", "version")[VERSION].set(1)
        self._counters: Mapping[type[Fact], Callable[[Any], None]] = {
            RequestFinished: self._request,
            BatchFinished: self._batch,
            QueueChanged: self._queue,
            EngineRestarted: self._restart,
            TextQuarantined: self._quarantine,
            ResponseSent: self._response,
            CallEnded: self._call,
            RequestsShed: self._shed,
            ModelLoaded: self._load,
            VersionSwitched: self._switch,
            VersionRefused: self._refuse_version,
            ShadowCompared: self._compare,
            EventPublished: self._publish,
            ReaderJoined: self._join,
            ReaderLeft: self._leave,
            SpansLost: self._lose,
        }
        ProcessCollector(registry=self._registry)  # CPU, memory, open files, under their customary names

    def observe(self, fact: Fact) -> None:
        """Take a fact, to be counted."""
        self._held.append(fact)
        if len(self._held) >= _MAX_HELD:
            self._count_held()

    def render(self, *, as_openmetrics: bool = False) -> bytes:
        """Return all metrics as they are now; the media type is ``CONTENT_TYPE``, or that of OpenMetrics 1.0.0.

        The latter has exemplars, which the other format has no place for.
        """
        self._count_held()
        write = openmetrics.generate_latest if as_openmetrics else generate_latest
        return write(_WithoutCreated(self._registry))

    def _count_held(self) -> None:
        while self._held:
            fact = self._held.popleft()
            self._counters[type(fact)](fact)
        for counts in self._counts:
            counts.settle()

    def _queue(self, fact: QueueChanged) -> None:
        self._queue_texts[fact.model].set(fact.waiting)

    def _restart(self, fact: EngineRestarted) -> None:
        self._restarts.add((fact.model, fact.reason))
        self._down_seconds.add(fact.model, fact.down_s)

    def _quarantine(self, fact: TextQuarantined) -> None:
        self._quarantined.add(fact.model)

    def _shed(self, fact: RequestsShed) -> None:
        """Count refusals in no histogram: some thousand of them would hide how long an answer takes."""
        self._requests.add((fact.task, "", fact.outcome), fact.count)
        self._responses.add((fact.route, fact.method, str(fact.status)), fact.count)

    def _load(self, fact: ModelLoaded) -> None:
        self._load_seconds[fact.model].set(fact.took_s)

    def _publish(self, fact: EventPublished) -> None:
        self._events.add(fact.subject)

    def _join(self, _fact: ReaderJoined) -> None:
        self._readers[()].inc()

    def _leave(self, fact: ReaderLeft) -> None:
        self._readers[()].dec()
        self._readers_left.add(fact.reason)

    def _switch(self, fact: VersionSwitched) -> None:
        self._switches.add((fact.model, fact.role))

    def _lose(self, fact: SpansLost) -> None:
        self._lost_spans.add(fact.reason, fact.count)

    def _refuse_version(self, fact: VersionRefused) -> None:
        self._refused_versions.add((fact.model, fact.code))

    def _make_request_metrics(self) -> None:
        self._requests = self._counter(
            "headrace_requests_total", "Requests; the outcome is ok or the error's code.", "task", "model", "outcome"
        )
        self._limit_refusals = self._counter(
            "headrace_limit_refusals_total",
            "Requests that a limit refused; its name is what it counts, per what, and what it tells apart.",
            "limit",
        )
        self._request_seconds = self._histogram(
            "headrace_request_duration_seconds", "Time of a request in the service.", _SECONDS, "task", "model"
        )
        self._queue_seconds = self._histogram(
            "headrace_request_queue_seconds", "Longest wait of a request's texts for a batch.", _SECONDS, "model"
        )
        self._tokenize_seconds = self._histogram(
            "headrace_request_tokenize_seconds", "Longest tokenization of a request's texts.", _SECONDS, "model"
        )
        self._run_seconds = self._histogram(
            "headrace_request_run_seconds", "Longest inference of a request's texts.", _SECONDS, "model"
        )
        self._texts = self._counter("headrace_texts_total", "Texts in answered requests.", "model")
        self._cached = self._counter("headrace_cached_texts_total", "Texts answered without inference.", "model")
        self._tokens = self._counter("headrace_tokens_total", "Tokens of answered texts, cached included.", "model")

    def _make_batch_metrics(self) -> None:
        self._batch_texts = self._histogram("headrace_batch_texts", "Texts in a batch.", _BATCH_TEXTS, "model")
        self._batch_tokens = self._histogram(
            "headrace_batch_tokens", "Tokens in a batch, padding not included.", _BATCH_TOKENS, "model"
        )
        self._batch_seconds = self._histogram(
            "headrace_batch_run_seconds", "Time of a batch in the runtime.", _SECONDS, "model"
        )
        self._batch_padding = self._counter(
            "headrace_batch_padding_tokens_total", "Tokens computed for padding alone.", "model"
        )
        self._batch_failed = self._counter(
            "headrace_batch_failed_texts_total", "Texts that got an error from a batch.", "model"
        )
        self._queue_texts = self._gauge("headrace_queue_texts", "Texts that wait for a batch.", "model")

    def _make_engine_metrics(self) -> None:
        self._restarts = self._counter(
            "headrace_engine_restarts_total",
            "Engine processes that died and were replaced; the reason is a signal, hang or exit.",
            "model",
            "reason",
        )
        self._down_seconds = self._counter(
            "headrace_engine_down_seconds_total", "Time without an engine process, from death to ready.", "model"
        )
        self._quarantined = self._counter(
            "headrace_engine_quarantined_texts_total", "Texts that killed an engine twice.", "model"
        )

    def _make_version_metrics(self) -> None:
        self._load_seconds = self._gauge(
            "headrace_model_load_seconds", "Time that the version took to load that was loaded last.", "model"
        )
        self._switches = self._counter(
            "headrace_version_switches_total", "Versions that got a role: champion, canary or shadow.", "model", "role"
        )
        self._refused_versions = self._counter(
            "headrace_version_refusals_total",
            "Versions that should answer and could not be loaded; the outcome is the error's code.",
            "model",
            "outcome",
        )

        self._shadow_texts = self._counter(
            "headrace_shadow_texts_total",
            "Texts that a shadow was to read as well; the outcome is compared, skipped or the error's code.",
            "model",
            "outcome",
        )
        self._shadow_agreement = self._histogram(
            "headrace_shadow_agreement_ratio",
            "How far the shadow agrees with the champion on a text; 1: it says the same.",
            _AGREEMENTS,
            "model",
        )
        self._shadow_seconds = self._histogram(
            "headrace_shadow_duration_seconds",
            "Time that a shadow took for a request, waiting included.",
            _SECONDS,
            "model",
        )

    def _make_trace_metrics(self) -> None:
        self._lost_spans = self._counter(
            "headrace_lost_spans_total",
            "Spans of traces that were not sent; the reason is queue_full or export_failed.",
            "reason",
        )

    def _make_http_metrics(self) -> None:
        self._responses = self._counter(
            "headrace_http_responses_total", "Responses; 499: the client left first.", "route", "method", "status"
        )
        self._response_seconds = self._histogram(
            "headrace_http_response_duration_seconds", "Time from a request's head to its answer.", _SECONDS, "route"
        )

    def _make_grpc_metrics(self) -> None:
        self._calls = self._counter("headrace_grpc_calls_total", "gRPC calls that ended.", "method", "status")
        self._call_seconds = self._histogram(
            "headrace_grpc_call_duration_seconds", "Time of a gRPC call, streams included.", _SECONDS, "method"
        )

    def _make_event_metrics(self) -> None:
        self._events = self._counter("headrace_events_total", "Events that this process told.", "subject")
        self._readers = self._gauge("headrace_event_readers", "Readers that follow the events now.")
        self._readers_left = self._counter(
            "headrace_event_left_readers_total", "Readers that follow them no more, and why.", "reason"
        )

    def _request(self, fact: RequestFinished) -> None:
        self._requests.add((fact.task, fact.model, fact.outcome))
        if fact.limit:
            self._limit_refusals.add(fact.limit)
        exemplar = _exemplar(fact)
        self._request_seconds[fact.task, fact.model].observe(fact.timings.total_s, exemplar)
        if fact.outcome == "ok":
            self._texts.add(fact.model, fact.inputs)
            self._cached.add(fact.model, fact.cached)
            self._tokens.add(fact.model, fact.tokens)
        if fact.timings.run_s > 0:  # an answer from the cache waited for no batch: its zeros would hide the others
            self._queue_seconds[fact.model].observe(fact.timings.queue_s, exemplar)
            self._tokenize_seconds[fact.model].observe(fact.timings.tokenize_s, exemplar)
            self._run_seconds[fact.model].observe(fact.timings.run_s, exemplar)

    def _batch(self, fact: BatchFinished) -> None:
        self._batch_texts[fact.model].observe(fact.texts)
        self._batch_tokens[fact.model].observe(fact.tokens)
        self._batch_seconds[fact.model].observe(fact.run_s)
        self._batch_padding.add(fact.model, fact.padded_tokens - fact.tokens)
        self._batch_failed.add(fact.model, fact.failed)

    def _compare(self, fact: ShadowCompared) -> None:
        self._shadow_texts.add((fact.model, fact.outcome), fact.texts)
        for agreement in fact.agreements:
            self._shadow_agreement[fact.model].observe(agreement)
        if fact.agreements:
            self._shadow_seconds[fact.model].observe(fact.total_s)

    def _response(self, fact: ResponseSent) -> None:
        route = fact.route or _OTHER
        method = fact.method if fact.method in METHODS else _OTHER
        self._responses.add((route, method, str(fact.status)))
        self._response_seconds[route].observe(fact.duration_s, _exemplar(fact))

    def _call(self, fact: CallEnded) -> None:
        self._calls.add((fact.method, fact.status))
        self._call_seconds[fact.method].observe(fact.duration_s, _exemplar(fact))

    def _counter(self, name: str, help_text: str, *labels: str) -> _Counts:
        self.descriptions.append(MetricDescription(name, "counter", labels, help_text))
        counts = _Counts(Counter(name, help_text, labels, registry=self._registry))
        self._counts.append(counts)
        return counts

    def _gauge(self, name: str, help_text: str, *labels: str) -> _Series[Gauge]:
        self.descriptions.append(MetricDescription(name, "gauge", labels, help_text))
        return _Series(Gauge(name, help_text, labels, registry=self._registry))

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> _Series[Histogram]:
        self.descriptions.append(MetricDescription(name, "histogram", labels, help_text))
        return _Series(Histogram(name, help_text, labels, registry=self._registry, buckets=buckets))


def describe() -> Iterator[MetricDescription]:
    """Yield every metric of our own, in the order they are made."""
    yield from Metrics().descriptions


def _exemplar(fact: RequestFinished | ResponseSent | CallEnded) -> dict[str, str] | None:
    """Return what a value is an example of, if spans are kept of it: others would be looked for in vain."""
    trace = fact.trace
    if trace is None or not trace.is_sampled or (not isinstance(fact, RequestFinished) and is_probe(fact)):
        return None
    return {"trace_id": trace.trace_id}


class _WithoutCreated(Collector):
    """A registry without the time at which each series began: Prometheus does not use it, and it is half the page."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
