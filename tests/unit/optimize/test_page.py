from headrace.models.manifest import Comparison, VariantReport
from headrace.optimize.page import render_page


def report(name: str, **changes: object) -> VariantReport:
    fields = {"size_bytes": 3 << 20, "texts_per_s": 50.0, "speedup": 1.0, "agreement": 1.0, "score": 0.9}
    return VariantReport(**{"name": name, **fields, "passed": True, "verdict": "passed", **changes})


def comparison(*variants: VariantReport, metric: str | None = "accuracy") -> Comparison:
    return Comparison(
        of_revision="a" * 64,
        texts=1234,
        agreement="same labels",
        metric=metric,
        least_agreement=0.99,
        most_lost=0.005,
        cpu_model="a processor",
        threads=2,
        variants=variants,
    )


def test_each_variant_has_a_row_with_a_bar_as_long_as_it_is_fast():
    page = render_page("tiny", comparison(report("slow"), report("fast", texts_per_s=100.0)))
    assert '<tr class="passed"><td>slow</td>' in page
    assert "width:50.0%" in page
    assert "width:100.0%" in page
    assert "at most 0.50% of accuracy may be lost" in page
    assert "1,234 asked on 2 threads of a processor" in page


def test_what_was_refused_or_did_not_run_says_why():
    failed = report("broken", texts_per_s=0.0, score=None, passed=False, verdict="does not run here: <no>")
    page = render_page("tiny", comparison(failed))
    assert '<tr class="refused">' in page
    assert "does not run here: &lt;no&gt;" in page
    assert "<no>" not in page


def test_without_a_figure_of_the_task_agreement_decides():
    page = render_page("tiny", comparison(report("one", score=None), metric=None))
    assert "same labels must be 0.9900 or more" in page
    assert "<th>accuracy</th>" not in page
