import re
from dataclasses import replace

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from headrace import __version__
from headrace.observe.base import (
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
)
from headrace.observe.metrics import CONTENT_TYPE, Metrics, describe
from headrace.observe.traces import Trace
from headrace.types import Caller, Timings

CALLER = Caller("ada", frozenset())
TIMINGS = Timings(queue_s=0.002, tokenize_s=0.0004, run_s=0.02, total_s=0.03)
REQUEST = RequestFinished(
    caller=CALLER, task="embed", model="minilm", outcome="ok", inputs=3, cached=1, tokens=30, timings=TIMINGS
)
LIMITED = replace(REQUEST, outcome="limit.exceeded", limit="tokens-day")
BATCH = BatchFinished(model="minilm", texts=4, tokens=60, padded_tokens=64, failed=1, run_s=0.01)
RESTART = EngineRestarted(model="minilm", reason="SIGSEGV", suspects=2, down_s=0.5)
QUARANTINE = TextQuarantined(model="minilm", digest="0123456789ab")
SWITCH = VersionSwitched(model="minilm", revision="0" * 64, role="canary")
CALL = CallEnded(method="headrace.v1.Inference/Embed", status="OK", request_id="r", caller="c", duration_s=0.002)
COMPARED = ShadowCompared(model="minilm", outcome="compared", texts=2, agreements=(1.0, 0.5), total_s=0.25)
LOADED = ModelLoaded(model="minilm", revision="0" * 64, took_s=1.5)
LEFT = ReaderLeft(caller="ada", reason="reader.slow", events=3, stayed_s=9.0)
REFUSAL = VersionRefused(model="minilm", revision="0" * 64, code="model.corrupt", reason="it is broken")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(*facts: Fact) -> Samples:
    metrics = Metrics()
    for fact in facts:
        metrics.observe(fact)
    return read(metrics)


def read(metrics: Metrics) -> Samples:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def response(route: str = "/api/v1/embed", method: str = "POST", status: int = 200) -> ResponseSent:
    return ResponseSent(
        route=route, method=method, path="/x", status=status, request_id="r", caller="key-0", duration_s=0.02
    )


def test_a_request_is_counted_by_task_model_and_outcome() -> None:
    failed = RequestFinished(
        caller=CALLER,
        task="embed",
        model="minilm",
        outcome="queue.full",
        inputs=5,
        cached=0,
        tokens=0,
        timings=Timings(total_s=0.001),
    )
    samples = scrape(REQUEST, REQUEST, failed)
    labels = {"task": "embed", "model": "minilm"}
    assert value(samples, "headrace_requests_total", **labels, outcome="ok") == 2
    assert value(samples, "headrace_requests_total", **labels, outcome="queue.full") == 1
    assert value(samples, "headrace_request_duration_seconds_count", **labels) == 3
    assert value(samples, "headrace_request_duration_seconds_sum", **labels) == pytest.approx(0.061)


def test_texts_and_tokens_are_those_of_answered_requests() -> None:
    failed = RequestFinished(
        caller=CALLER,
        task="embed",
        model="minilm",
        outcome="engine.failed",
        inputs=5,
        cached=2,
        tokens=9,
        timings=Timings(),
    )
    samples = scrape(REQUEST, failed)
    assert value(samples, "headrace_texts_total", model="minilm") == 3
    assert value(samples, "headrace_cached_texts_total", model="minilm") == 1
    assert value(samples, "headrace_tokens_total", model="minilm") == 30


def test_the_parts_of_a_request_are_timed_only_where_the_engine_ran() -> None:
    cached = RequestFinished(
        caller=CALLER,
        task="embed",
        model="minilm",
        outcome="ok",
        inputs=1,
        cached=1,
        tokens=9,
        timings=Timings(total_s=0.0002),
    )
    samples = scrape(REQUEST, cached)
    for part, seconds in (("queue", 0.002), ("tokenize", 0.0004), ("run", 0.02)):
        assert value(samples, f"headrace_request_{part}_seconds_count", model="minilm") == 1
        assert value(samples, f"headrace_request_{part}_seconds_sum", model="minilm") == pytest.approx(seconds)


def test_a_batch_is_measured_in_texts_tokens_padding_and_failures() -> None:
    samples = scrape(BATCH)
    expected = {"texts_sum": 4, "tokens_sum": 60, "padding_tokens_total": 4, "failed_texts_total": 1}
    found = {name: value(samples, f"headrace_batch_{name}", model="minilm") for name in expected}
    assert found == expected
    assert value(samples, "headrace_batch_run_seconds_sum", model="minilm") == pytest.approx(0.01)


def test_refusals_of_unread_requests_are_counted_and_hide_no_duration() -> None:
    shed = RequestsShed(task="embed", outcome="queue.full", route="/r", method="POST", status=429, count=7)
    samples = scrape(shed, shed)
    assert value(samples, "headrace_requests_total", task="embed", model="", outcome="queue.full") == 14
    assert value(samples, "headrace_http_responses_total", route="/r", method="POST", status="429") == 14
    assert not [name for name, _ in samples if "duration" in name]


def test_the_queue_is_as_long_as_it_was_last() -> None:
    samples = scrape(QueueChanged(model="minilm", waiting=9), QueueChanged(model="minilm", waiting=2))
    assert value(samples, "headrace_queue_texts", model="minilm") == 2


def test_restarts_are_counted_by_reason_with_the_time_they_took() -> None:
    samples = scrape(RESTART, RESTART, QUARANTINE)
    assert value(samples, "headrace_engine_restarts_total", model="minilm", reason="SIGSEGV") == 2
    assert value(samples, "headrace_engine_down_seconds_total", model="minilm") == 1.0
    assert value(samples, "headrace_engine_quarantined_texts_total", model="minilm") == 1


def test_switches_of_versions_are_counted_and_those_that_were_refused() -> None:
    samples = scrape(SWITCH, SWITCH, REFUSAL)
    assert value(samples, "headrace_version_switches_total", model="minilm", role="canary") == 2
    assert value(samples, "headrace_version_refusals_total", model="minilm", outcome="model.corrupt") == 1


def test_a_shadow_is_counted_by_how_far_it_agrees() -> None:
    skipped = ShadowCompared(model="minilm", outcome="skipped", texts=3, agreements=(), total_s=0)
    samples = scrape(COMPARED, skipped)
    assert value(samples, "headrace_shadow_texts_total", model="minilm", outcome="compared") == 2
    assert value(samples, "headrace_shadow_texts_total", model="minilm", outcome="skipped") == 3
    assert value(samples, "headrace_shadow_agreement_ratio_sum", model="minilm") == pytest.approx(1.5)
    assert value(samples, "headrace_shadow_agreement_ratio_bucket", model="minilm", le="0.5") == 1
    assert value(samples, "headrace_shadow_duration_seconds_sum", model="minilm") == pytest.approx(0.25)


def test_a_response_is_counted_by_route_method_and_status() -> None:
    samples = scrape(response(), response(status=499))
    route = "/api/v1/embed"
    assert value(samples, "headrace_http_responses_total", route=route, method="POST", status="200") == 1
    assert value(samples, "headrace_http_responses_total", route=route, method="POST", status="499") == 1
    assert value(samples, "headrace_http_response_duration_seconds_count", route=route) == 2


def test_what_clients_make_up_becomes_one_label() -> None:
    samples = scrape(*(response(route="", method=f"MADE{number}", status=404) for number in range(50)))
    named = [labels for name, labels in samples if name == "headrace_http_responses_total"]
    assert named == [(("method", "other"), ("route", "other"), ("status", "404"))]


def test_every_fact_is_counted_however_many_come() -> None:
    samples = scrape(*[REQUEST] * 1000)
    assert value(samples, "headrace_requests_total", task="embed", model="minilm", outcome="ok") == 1000


def test_facts_do_not_pile_up_while_nobody_looks() -> None:
    metrics = Metrics()
    for _ in range(1000):
        metrics.observe(REQUEST)
    assert len(metrics._held) < 100


def test_two_in_one_process_do_not_meet() -> None:
    first, second = Metrics(), Metrics()
    first.observe(QueueChanged(model="minilm", waiting=5))
    assert value(read(first), "headrace_queue_texts", model="minilm") == 5
    assert value(read(second), "headrace_queue_texts", model="minilm") is None


def test_the_page_says_which_version_runs_and_what_the_process_takes() -> None:
    samples = scrape()
    assert value(samples, "headrace_build_info", version=__version__) == 1
    assert (value(samples, "process_resident_memory_bytes") or 0) > 1 << 20


def test_the_page_is_in_the_text_format_and_no_longer_than_needed() -> None:
    metrics = Metrics()
    metrics.observe(REQUEST)
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    assert b"# TYPE headrace_requests_total counter" in metrics.render()
    assert b"_created" not in metrics.render()


def test_events_and_their_readers_are_counted() -> None:
    samples = scrape(EventPublished(subject="limit.exceeded"), ReaderJoined(), ReaderJoined(), LEFT, LOADED)
    assert value(samples, "headrace_events_total", subject="limit.exceeded") == 1
    assert value(samples, "headrace_event_readers") == 1
    assert value(samples, "headrace_event_left_readers_total", reason="reader.slow") == 1
    assert value(samples, "headrace_model_load_seconds", model="minilm") == 1.5


def test_every_metric_is_described_as_it_is() -> None:
    metrics = Metrics()
    for fact in (
        REQUEST,
        LIMITED,
        BATCH,
        QueueChanged(model="minilm", waiting=1),
        RESTART,
        QUARANTINE,
        SWITCH,
        REFUSAL,
        COMPARED,
        LOADED,
        EventPublished(subject="version.switched"),
        LEFT,
        SpansLost(reason="queue_full", count=7),
        response(),
        CALL,
    ):
        metrics.observe(fact)
    families = {
        family.name: family
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith("headrace_")
    }
    described = {one.name: one for one in describe()}
    assert {name.removesuffix("_total") for name in described} == set(families)
    for name, one in described.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (one.type, one.help)
        assert set(family.samples[0].labels) - {"le"} == set(one.labels)


def test_a_call_is_counted_by_its_method_and_status() -> None:
    samples = scrape(CALL, CALL)
    labels = (("method", CALL.method), ("status", "OK"))
    assert samples["headrace_grpc_calls_total", labels] == 2
    assert samples["headrace_grpc_call_duration_seconds_count", labels[:1]] == 2


def test_names_and_labels_keep_the_pattern() -> None:
    units = "seconds|texts|tokens|requests|responses|restarts|calls|switches|refusals|spans|ratio|events|readers|info"
    for one in describe():
        assert re.fullmatch(rf"headrace_([a-z]+_)*({units})(_total)?", one.name)
        assert one.name.endswith("_total") == (one.type == "counter")
        assert one.help.endswith(".")
        assert set(one.labels) <= {
            "task",
            "model",
            "outcome",
            "limit",
            "reason",
            "route",
            "method",
            "status",
            "version",
            "role",
            "subject",
        }


def test_the_time_buckets_reach_from_a_cached_answer_to_the_default_timeout() -> None:
    samples = scrape(REQUEST)
    buckets = [float(dict(labels)["le"]) for name, labels in samples if name == "headrace_request_run_seconds_bucket"]
    assert buckets[0] == 0.0005
    assert buckets[-2:] == [30.0, float("inf")]


def exemplars(*facts: Fact) -> dict[str, str]:
    """Return the trace that each histogram shows for one of its values."""
    metrics = Metrics()
    for fact in facts:
        metrics.observe(fact)
    return {
        family.name: sample.exemplar.labels["trace_id"]
        for family in openmetrics.text_string_to_metric_families(metrics.render(as_openmetrics=True).decode())
        for sample in family.samples
        if sample.exemplar
    }


def test_a_latency_has_a_trace_for_an_example_where_spans_are_kept() -> None:
    traces = [Trace(trace_id=digit * 32, span_id="1" * 16, is_sampled=True) for digit in "abc"]
    facts = replace(REQUEST, trace=traces[0]), replace(response(), trace=traces[1]), replace(CALL, trace=traces[2])
    assert exemplars(*facts) == {
        "headrace_request_duration_seconds": "a" * 32,
        "headrace_request_queue_seconds": "a" * 32,
        "headrace_request_tokenize_seconds": "a" * 32,
        "headrace_request_run_seconds": "a" * 32,
        "headrace_http_response_duration_seconds": "b" * 32,
        "headrace_grpc_call_duration_seconds": "c" * 32,
    }


def test_what_no_spans_are_kept_of_is_no_example() -> None:
    unsampled = Trace(trace_id="a" * 32, span_id="1" * 16, is_sampled=False)
    sampled = replace(unsampled, is_sampled=True)
    facts = [replace(fact, trace=unsampled) for fact in (REQUEST, response(), CALL)]
    assert exemplars(*facts, REQUEST, replace(response("/livez"), trace=sampled)) == {}


def test_the_text_format_has_no_examples_and_the_same_numbers() -> None:
    metrics = Metrics()
    metrics.observe(replace(REQUEST, trace=Trace(trace_id="a" * 32, span_id="1" * 16, is_sampled=True)))
    assert b"trace_id" not in metrics.render()
    page = metrics.render(as_openmetrics=True).decode()
    assert page.endswith("# EOF\n")
    assert "_created" not in page
    families = openmetrics.text_string_to_metric_families(page)
    found = {(each.name, tuple(sorted(each.labels.items()))): each.value for one in families for each in one.samples}
    assert {key: value for key, value in found.items() if key[0].startswith("headrace_")} == {
        key: value for key, value in read(metrics).items() if key[0].startswith("headrace_")
    }


def test_lost_spans_are_counted_by_the_reason() -> None:
    samples = scrape(*[SpansLost(reason="queue_full", count=7), SpansLost(reason="export_failed", count=2)] * 2)
    assert value(samples, "headrace_lost_spans_total", reason="queue_full") == 14
    assert value(samples, "headrace_lost_spans_total", reason="export_failed") == 4


def test_a_refusal_is_counted_by_the_limit_that_refused_it() -> None:
    found = scrape(REQUEST, LIMITED, LIMITED)
    refusals = {labels: value for (name, labels), value in found.items() if name == "headrace_limit_refusals_total"}
    assert refusals == {(("limit", "tokens-day"),): 2}
