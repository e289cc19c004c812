import json
import re
from pathlib import Path

import pytest
from bench import http, limits, offline, overload, report, tail
from bench.charts import charts
from bench.environments import EnvironmentUnusable
from bench.pages import kind
from bench.report import render, write_report
from bench.results import Measurement, Results
from bench.stats import Spread
from bench.summary import in_short
from bench.tables import spell, table


@pytest.fixture
def results(tmp_path: Path) -> Results:
    machine = {
        "cpu_model": "A Processor",
        "cpus": 1.5,
        "cpu_flags": ["avx2"],
        "memory_bytes": 3 << 29,
        "kernel": "6.1",
        "python": "3.11",
        "load_before": 0.1,
    }
    about = {
        "machine": machine,
        "date": "2026-01-02",
        "rounds": 2,
        "flop_per_token": 21_000_000,
        "texts": {"count": 10, "tokens": 1234, "lengths": {"p50": 38.0}, "note": ""},
        "checked": 5,
        "versions": {"runtimes": {"numpy": "2.4.6"}},
    }
    identity = {"commit": "abc", "model": "m" * 64, "texts": "t" * 64}
    return Results(tmp_path / "run.json", identity, about)


def measure(results: Results, part: str, candidate: str, *rounds: dict[str, float]) -> None:
    for number, values in enumerate(rounds):
        results.add(Measurement(part, candidate, number, values))


def row(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.startswith(f"| {start} |"))


def test_a_spread_shows_its_range_only_if_there_was_more_than_one_round() -> None:
    assert spell(Spread(1234.4, 1000, 2000, 3)) == "1,234 (1,000 to 2,000)"
    assert spell(Spread(1.25, 1.25, 1.25, 1), 1) == "1.2"


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert table(["a", "b"], [["x|y", "1"]]) == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |"]


def test_the_offline_table_shows_medians_and_ratios_within_rounds(results: Results) -> None:
    measure(results, offline.PART, offline.HEADRACE, {"tokens_per_s": 100.0}, {"tokens_per_s": 300.0})
    measure(results, offline.PART, "other", {"tokens_per_s": 50.0, "alone_p50_s": 0.002}, {"tokens_per_s": 100.0})
    measure(results, f"{offline.PART} accuracy", "other", {"cosine_min": 0.99, "cosine_mean": 0.999})
    lines = render(results, plots=None)
    assert row(lines, "other") == "| other | 75 (50 to 100) | 2.50 (2.00 to 3.00) | - | 2.0 | 0.99000 | 0.99900 |"
    assert row(lines, "Headrace").startswith("| Headrace | 200 (100 to 300) | - |")


def test_a_server_is_compared_within_its_column(results: Results) -> None:
    for name, speed in (("Headrace", 60.0), ("Other", 30.0)):
        for column in ("as it comes", "tuned"):
            factor = 2 if column == "tuned" and name == "Other" else 1
            measure(results, http.PART, f"{name}, {column}", {"batch_tokens_per_s": speed * factor})
    assert row(render(results, plots=None), "Other") == "| Other | 30 | 2.00 | 60 | 1.00 |"


def test_figures_are_shown_in_the_units_of_their_columns(results: Results) -> None:
    measure(results, http.PART, "Headrace, tuned", {"idle_p50_s": 0.0042, "single_pss_bytes": 3 << 20, "start_s": 1.25})
    assert "| Headrace, tuned | 4.2 | - | 1.2 | 3 | - |" in "\n".join(render(results, plots=None))


def test_only_what_was_measured_has_a_section(results: Results) -> None:
    assert [line for line in render(results, plots=None) if line.startswith("## ")] == [
        "## Versions",
        "## Run it yourself",
    ]
    measure(results, limits.PART, limits.COPY, {"gb_per_s": 12.34})
    measure(results, overload.PART, "Headrace, 2 x", {"good_tokens_per_s": 1.0})
    lines = render(results, plots=None)
    assert "Memory, read and written by a copy on all threads: 12.3 GB/s." in lines
    assert "## More than a server can do" in lines


def test_overload_is_told_as_a_share_of_the_capacity(results: Results) -> None:
    figures = {
        "capacity_tokens_per_s": 1000.0,
        "good_tokens_per_s": 960.0,
        "good_share": 0.96,
        "generator_cpu_share": 0.125,
        "good_share_left": 1.01,
        "refusal_p50_s": 0.0012,
        "refusal_p99_s": 0.0049,
        "pss_before_bytes": 3 << 20,
        "pss_bytes": 4 << 20,
    }
    measure(results, overload.PART, overload.candidate("Headrace", 32, 10), figures)
    found = row(render(results, plots=None), "Headrace, 32 texts, 10 x")
    shares = "| 1,000 | 960 | 96 | 0.12 | 101 |"
    assert found == f"| Headrace, 32 texts, 10 x {shares} - | - | - | 1.2 | 4.9 | - | - | 3 | 4 | - | - |"


def test_the_tail_is_told_as_the_ratio_within_the_rounds(results: Results) -> None:
    for number, ratio in enumerate((1.5, 1.25, 2.0)):
        alone, among = {"short_p50_s": 0.002, "short_p99_s": 0.01}, {"short_p50_s": 0.003, "short_p99_s": 0.01 * ratio}
        figures = {f"without_{name}": value for name, value in alone.items()}
        figures |= {f"with_{name}": value for name, value in among.items()}
        results.add(Measurement(tail.PART, "Headrace", number, {**figures, "p99_ratio": ratio, "with_refused": 3.0}))
    lines = render(results, plots=None)
    cells = [cell.strip() for cell in row(lines, "Headrace").split("|")]
    assert "## Short texts among long ones" in lines
    assert cells[4:8] == ["2.0 (2.0 to 2.0)", "3.0 (3.0 to 3.0)", "10.0 (10.0 to 10.0)", "15.0 (12.5 to 20.0)"]
    assert cells[9] == "1.50 (1.25 to 2.00)"
    assert cells[13] == "3 (3 to 3)"


def test_a_busy_machine_is_told(results: Results) -> None:
    assert "trust the ratios" not in "\n".join(render(results, plots=None))
    results.about["machine"]["load_before"] = 2.0
    assert "0: something else ran in the minute before, **trust the ratios more than the figures**" in "\n".join(
        render(results, plots=None)
    )


def test_who_was_left_out_is_told_with_the_reason(results: Results) -> None:
    results.leave_out("Other, tuned", "it does not start")
    assert "- Other, tuned: it does not start" in render(results, plots=None)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "INDEX", tmp_path / "docs/benchmarks.md")
    monkeypatch.setattr(report, "PAGES", tmp_path / "docs/benchmarks")
    return tmp_path / "docs"


def test_without_plots_the_page_has_no_pictures(pages: Path, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise EnvironmentUnusable("no network")

    monkeypatch.setattr(report, "environment", fail)
    measure(results, offline.PART, "Headrace", {"tokens_per_s": 1.0})
    write_report(results)
    text = (pages / "benchmarks/avx2.md").read_text()
    assert text.startswith("<!-- Made by")
    assert not re.search(r"!\[", text)


def test_each_kind_of_processor_keeps_its_page_and_the_index_has_them_all(
    pages: Path, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise EnvironmentUnusable("no network")

    monkeypatch.setattr(report, "environment", fail)
    for flags, speed in ((["avx2", "avx512f", "avx512_vnni", "avx512_bf16"], 500.0), (["avx2", "fma"], 300.0)):
        results.about["machine"]["cpu_flags"] = flags
        results.measurements.clear()
        measure(results, offline.PART, "Headrace", {"tokens_per_s": speed}, {"tokens_per_s": speed})
        measure(results, offline.PART, "Headrace, int8", {"tokens_per_s": 2 * speed}, {"tokens_per_s": 2 * speed})
        measure(results, offline.PART, "Slow", {"tokens_per_s": 50.0}, {"tokens_per_s": 50.0})
        measure(results, offline.PART, "Fast", {"tokens_per_s": 100.0}, {"tokens_per_s": 200.0})
        write_report(results)
    index = (pages / "benchmarks.md").read_text()
    assert re.findall(r"\]\((.+)\)", index) == ["benchmarks/avx512-bf16.md", "benchmarks/avx2.md"]
    for title, ratio in (("500 (500 to 500)", "3.75 (2.50 to 5.00)"), ("300 (300 to 300)", "2.25 (1.50 to 3.00)")):
        assert f"| a list of texts: {title} tokens/s | {ratio} x Fast |" in index
    assert "# Benchmarks: AVX2\n" in (pages / "benchmarks/avx2.md").read_text()


@pytest.mark.parametrize(
    ("flags", "name"),
    [(["avx2", "avx512f", "amx_bf16"], "amx"), (["avx2", "avx512f"], "avx512"), (["avx2"], "avx2"), ([], "other")],
)
def test_a_kind_of_processor_is_called_by_its_widest_instructions(flags: list[str], name: str) -> None:
    assert kind(flags) == name


def test_a_page_begins_with_what_it_comes_to(results: Results) -> None:
    measure(results, limits.PART, "products, fp32 (NumPy), 512 rows", {"tokens_per_s": 200.0})
    measure(results, limits.PART, "products, fp32 (NumPy), 2048 rows", {"tokens_per_s": 250.0})
    measure(results, limits.PART, "products, bf16 (oneDNN), 2048 rows", {"tokens_per_s": 20.0})  # emulated
    measure(results, limits.PART, "products, int8 (oneDNN), 2048 rows", {"tokens_per_s": 900.0})
    measure(results, offline.PART, "Headrace", {"tokens_per_s": 500.0})
    for column, speed in (("as it comes", 80.0), ("tuned", 160.0)):
        for name, factor in (("Headrace", 5), ("Headrace int8", 9), ("Other", 1), ("Slower", 0.5)):
            figures = {"batch_tokens_per_s": factor * speed, "single_tokens_per_s": factor * speed / 2}
            measure(results, http.PART, f"{name}, {column}", figures)
    measure(results, overload.PART, "Headrace, 1 text, 10 x", {"good_share_left": 0.961})
    measure(results, tail.PART, "Headrace", {"p99_ratio": 1.25})
    assert in_short(results)[2:] == [
        "| a list of texts, beside the bare products | 2.00 x products, fp32 (NumPy), 2048 rows |",
        "| 32 texts a request, servers as it comes: 400 tokens/s | 5.00 x Other, as it comes |",
        "| 32 texts a request, servers tuned: 800 tokens/s | 5.00 x Other, tuned |",
        "| single texts, servers as it comes: 200 tokens/s | 5.00 x Other, as it comes |",
        "| single texts, servers tuned: 400 tokens/s | 5.00 x Other, tuned |",
        "| 1 text, 10 x the capacity | 96 % of it answered within a second |",
        "| p99 of short texts, with long ones among them | 1.25 x that without |",
    ]


def test_every_picture_of_the_page_has_a_chart(results: Results) -> None:
    measure(results, offline.PART, "Headrace", {"tokens_per_s": 1.0}, {"tokens_per_s": 3.0})
    measure(results, http.PART, "Headrace, tuned", {"batch_tokens_per_s": 1.0, "single_tokens_per_s": 1.0})
    for factor, good in ((2, 90.0), (5, 50.0)):
        figures = {"good_share": good / 100.0}
        measure(results, overload.PART, f"Headrace, {factor} x", figures)
    drawn = charts(results)
    pictures = re.findall(r"\(avx2/([a-z-]+)\.png", "\n".join(render(results, plots="avx2")))
    assert sorted(pictures) == sorted(chart["file"] for chart in drawn)
    by_file = {chart["file"]: chart for chart in drawn}
    assert by_file["offline"]["groups"] == {"": [[2.0, 1.0, 3.0]]}
    assert by_file["http-batch"]["groups"] == {"as it comes": [None], "tuned": [[1.0, 1.0, 1.0]]}
    assert by_file["overload"]["lines"] == {"Headrace": [[2.0, 0.9], [5.0, 0.5]]}
    assert json.loads(json.dumps(drawn)) == drawn
