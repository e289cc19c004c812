"""The dashboard and the alerts: they load, and name only what a server says of itself."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.support.expressions import SCRAPED, ExpressionWrong, Vocabulary

from headrace.api.grpc.server import declare
from headrace.api.rest.app import build_routes
from headrace.errors import error_classes
from headrace.observe.metrics import MetricDescription, Metrics, describe

FOLDER: Final = Path(__file__).parents[2] / "deploy/observability"
DASHBOARD: Final = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS: Final = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
RULES: Final = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS: Final = [(panel, target) for panel in PANELS for target in panel["targets"]]
VARIABLES: Final = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def series(metric: MetricDescription) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the names of the series of a metric, and their labels."""
    labels = frozenset(metric.labels)
    if metric.type != "histogram":
        yield metric.name, labels
        return
    yield f"{metric.name}_bucket", labels | {"le"}
    yield f"{metric.name}_sum", labels
    yield f"{metric.name}_count", labels


def read_vocabulary() -> Vocabulary:
    labels = dict(each for metric in describe() for each in series(metric))
    for family in text_string_to_metric_families(Metrics().render().decode()):
        if family.name.startswith("process_"):  # those of the process are the library's
            labels |= {sample.name: frozenset(sample.labels) for sample in family.samples}
    methods = {f"{service.full_name}/{method.name}" for service in declare() for method in service.methods}
    return Vocabulary(
        labels,
        {
            "outcome": frozenset({"ok", *(each.code for each in error_classes())}),
            "route": frozenset({"other", *(getattr(route, "path", "") for route in build_routes().router.routes)}),
            "method": frozenset({"GET", "POST", *methods}),
        },
    )


VOCABULARY: Final = read_vocabulary()


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_names_only_what_there_is(rule: dict[str, Any]):
    labels = VOCABULARY.read(rule["expr"])
    told = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels
    assert "for" not in rule or promql.parse_duration(rule["for"])


def test_alerts_are_as_prometheus_reads_them():
    assert set(ALERTS) == {"groups"}
    assert [set(group) for group in ALERTS["groups"]] == [{"name", "rules"}]
    for rule in RULES:
        assert (
            {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        )
        assert re.fullmatch(r"Headrace[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        for text in rule["annotations"].values():
            assert re.sub(r"\{\{ (\$labels\.\w+|\$value( \| humanize\w+)?) \}\}", "", text).count("{") == 0
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) > 10


@pytest.mark.parametrize(
    ("panel", "target"), TARGETS, ids=[f"{panel['title']}-{target['refId']}" for panel, target in TARGETS]
)
def test_a_panel_names_only_what_there_is(panel: dict[str, Any], target: dict[str, Any]):
    labels = VOCABULARY.read(target["expr"])
    assert set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"])) <= labels
    assert set(re.findall(r"\$(?!__)(\w+)", target["expr"])) <= set(VARIABLES)
    assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_an_example_of_a_latency_is_asked_for_where_there_are_any():
    asked = [target["expr"] for _, target in TARGETS if target.get("exemplar")]
    assert asked
    assert all("duration_seconds_bucket" in expr and "histogram_quantile" in expr for expr in asked)


def test_variables_are_asked_of_series_that_there_are():
    for variable in VARIABLES.values():
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert found
            assert found[2] in VOCABULARY.labels[found[1]] | SCRAPED
            assert variable["name"] == found[2]


def test_the_dashboard_is_as_grafana_reads_it():
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    assert "id" not in DASHBOARD  # Grafana gives one; with another's it would overwrite that one's dashboard
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0


def test_panels_do_not_overlap_and_fit_the_page():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_every_metric_of_a_server_is_on_the_dashboard():
    shown = " ".join(target["expr"] for _, target in TARGETS)
    assert [metric.name for metric in describe() if metric.name not in shown and metric.name not in NOT_SHOWN] == []


NOT_SHOWN: Final = {
    "headrace_batch_run_seconds",  # beside that of a request, which is what is waited for
}


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("rate(headrace_requests_total[5m)", "bracket|paren|unexpected"),
        ("rate(headrace_requests_total)", "expected type matrix"),
        ("headrace_request_total", "no series 'headrace_request_total'"),
        ("headrace_request_duration_seconds", "no series"),
        ('headrace_requests_total{models="minilm"}', r"no label \['models'\]"),
        ('headrace_requests_total{outcome="queue.fulll"}', "'outcome' is never 'queue.fulll'"),
        ('headrace_requests_total{outcome=~"ok|queue_full.*"}', "never"),
        ('headrace_http_responses_total{route="/ready"}', "'route' is never"),
        ("sum by (modell) (headrace_queue_texts)", r"no label \['modell'\]"),
        ("sum by (model) (sum(headrace_queue_texts))", "no label"),
        ("histogram_quantile(0.9, sum by (model) (rate(headrace_batch_texts_bucket[5m])))", r"no label \['le'\]"),
        ("rate(headrace_texts_total[5m]) / rate(headrace_requests_total[5m])", "nothing matches"),
        ("headrace_texts_total * on (task) headrace_requests_total", r"no label \['task'\]"),
        ('"text"', "does not know StringLiteral"),
    ],
)
def test_an_expression_that_names_what_is_not_there_would_be_found(expr: str, reason: str):
    with pytest.raises(ExpressionWrong, match=reason):
        VOCABULARY.read(expr)
