"""Tables in Markdown, one for each part of a run."""

from collections.abc import Iterable, Sequence
from typing import Final

from bench import http, limits, offline, overload, tail
from bench.results import Results, paired
from bench.server import COLUMNS
from bench.stats import Spread, ratios, spread

_MIB: Final = 1 << 20
_MISSING: Final = "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table; all columns but the first are figures and stand right."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *map(list, rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def spell(values: Spread, digits: int = 0) -> str:
    """Write a spread as its median, with minimum and maximum if there was more than one round."""
    middle = f"{values.median:,.{digits}f}"
    return middle if values.count == 1 else f"{middle} ({values.low:,.{digits}f} to {values.high:,.{digits}f})"


def figure(results: Results, part: str, candidate: str, name: str, *, scale: float = 1.0, digits: int = 0) -> str:
    """Write one figure of a candidate over its rounds; a dash if it has none."""
    series = results.series(part, candidate, name)
    return spell(spread([value * scale for value in series.values()]), digits) if series else _MISSING


def advantage(results: Results, part: str, ours: str, theirs: str, name: str) -> str:
    """Write how many times a figure of ours is theirs, from the ratios within the rounds."""
    first, second = paired(results.series(part, ours, name), results.series(part, theirs, name))
    return spell(ratios(first, second), 2) if first and ours != theirs else _MISSING


def figures_table(results: Results, part: str, title: str, columns: Sequence[tuple[str, str, float, int]]) -> list[str]:
    """Return a row for each candidate of a part.

    Args:
        results: Of a run.
        part: Its name.
        title: Of the first column, which has the candidates' names.
        columns: Of each the title, the figure's name, what it is multiplied with, and its digits.
    """
    rows = [
        [name, *(figure(results, part, name, key, scale=scale, digits=digits) for _, key, scale, digits in columns)]
        for name in results.candidates(part)
    ]
    return table([title, *(each for each, *_ in columns)], rows)


def limits_table(results: Results) -> list[str]:
    """Return what the machine could do at most."""
    rows = [
        [
            name,
            figure(results, limits.PART, name, "tokens_per_s"),
            figure(results, limits.PART, name, "gflop_per_s"),
        ]
        for name in results.candidates(limits.PART)
        if name != limits.COPY
    ]
    copy = figure(results, limits.PART, limits.COPY, "gb_per_s", digits=1)
    lines = table(["Matrix products of the model's layers", "Tokens/s", "GFLOP/s"], rows)
    return [*lines, "", f"Memory, read and written by a copy on all threads: {copy} GB/s."]


def offline_table(results: Results) -> list[str]:
    """Return the offline figures, and how many times Headrace's throughput is each candidate's."""
    accuracy = f"{offline.PART} accuracy"
    rows = [
        [
            name,
            figure(results, offline.PART, name, "tokens_per_s"),
            advantage(results, offline.PART, offline.HEADRACE, name, "tokens_per_s"),
            figure(results, offline.PART, name, "cpu_s_per_million_tokens", digits=1),
            figure(results, offline.PART, name, "alone_p50_s", scale=1e3, digits=1),
            figure(results, accuracy, name, "cosine_min", digits=5),
            figure(results, accuracy, name, "cosine_mean", digits=5),
        ]
        for name in results.candidates(offline.PART)
    ]
    header = ["Offline", "Tokens/s", "Headrace / it", "CPU s per million tokens", "One short text p50, ms"]
    return table([*header, "Cosine, least", "Cosine, mean"], rows)


def http_titles(results: Results) -> list[str]:
    """Return the servers that have figures, without their columns."""
    return list(dict.fromkeys(name.rpartition(", ")[0] for name in results.candidates(http.PART)))


def throughput_table(results: Results, load: str) -> list[str]:
    """Return the throughput of all servers under one load, in both columns.

    Args:
        results: Of a run.
        load: ``batch`` or ``single``.
    """
    figure_name = f"{load}_tokens_per_s"
    header = ["Server"]
    for column in COLUMNS.values():
        header += [f"{column}, tokens/s", "Headrace / it"]
    rows = []
    for title in http_titles(results):
        row = [title]
        for column in COLUMNS.values():
            name, ours = f"{title}, {column}", f"{offline.HEADRACE}, {column}"
            row.append(figure(results, http.PART, name, figure_name))
            row.append(advantage(results, http.PART, ours, name, figure_name))
        rows.append(row)
    return table(header, rows)


def server_table(results: Results) -> list[str]:
    """Return what else was measured of each server."""
    columns = (
        ("Idle p50, ms", "idle_p50_s", 1e3, 1),
        ("Idle p99, ms", "idle_p99_s", 1e3, 1),
        ("Start, s", "start_s", 1.0, 1),
        ("Memory, MiB", "single_pss_bytes", 1 / _MIB, 0),
        ("Unanswered of 32 texts", "batch_missing", 1.0, 0),
        ("Unanswered of one", "single_missing", 1.0, 0),
        ("CPU s per million tokens", "batch_cpu_s_per_million_tokens", 1.0, 0),
        ("Cosine, least", "cosine_min", 1.0, 5),
        ("Cosine, mean", "cosine_mean", 1.0, 5),
        ("Generator, cores", "single_generator_cpu_share", 1.0, 2),
    )
    return figures_table(results, http.PART, "Server", columns)


def ceiling_table(results: Results) -> list[str]:
    """Return what the load generator reaches with a server that does nothing."""
    rows = [[name, figure(results, http.CEILING, name, "tokens_per_s")] for name in results.candidates(http.CEILING)]
    return table(["The load generator's own limit", "Tokens/s"], rows)


def overload_table(results: Results) -> list[str]:
    """Return what overload did to each server."""
    columns = (
        ("Capacity, tokens/s", "capacity_tokens_per_s", 1.0, 0),
        ("Good tokens/s", "good_tokens_per_s", 1.0, 0),
        ("Good, % of capacity", "good_share", 100.0, 0),
        ("Generator, cores", "generator_cpu_share", 1.0, 2),
        ("Good, % of what it left", "good_share_left", 100.0, 0),
        ("Answered p99, s", "p99_s", 1.0, 2),
        ("Requests", "requests", 1.0, 0),
        ("Refused", "refused", 1.0, 0),
        ("Refused p50, ms", "refusal_p50_s", 1e3, 1),
        ("Refused p99, ms", "refusal_p99_s", 1e3, 1),
        ("Since sent p99, ms", "refusal_since_sent_p99_s", 1e3, 1),
        ("Failed", "failed", 1.0, 0),
        ("Memory before, MiB", "pss_before_bytes", 1 / _MIB, 0),
        ("Memory after, MiB", "pss_bytes", 1 / _MIB, 0),
        ("Recovery, s", "recovery_s", 1.0, 2),
        ("Sent late p99, ms", "late_sends_p99_s", 1e3, 0),
    )
    return figures_table(results, overload.PART, "Server, load", columns)


def tail_table(results: Results) -> list[str]:
    """Return how long short texts took without long ones among them, with, and with them on top."""
    columns = (
        ("Capacity, texts/s", "capacity_per_s", 1.0, 0),
        ("Capacity with long ones", "mixed_capacity_per_s", 1.0, 0),
        ("p50 without, ms", "without_short_p50_s", 1e3, 1),
        ("p50 with, ms", "with_short_p50_s", 1e3, 1),
        ("p99 without, ms", "without_short_p99_s", 1e3, 1),
        ("p99 with, ms", "with_short_p99_s", 1e3, 1),
        ("p99 on top, ms", "on_top_short_p99_s", 1e3, 1),
        ("p99 with / without", "p99_ratio", 1.0, 2),
        ("p99 on top / without", "on_top_p99_ratio", 1.0, 2),
        ("Long p99, ms", "with_long_p99_s", 1e3, 1),
        ("Refused without", "without_refused", 1.0, 0),
        ("Refused with", "with_refused", 1.0, 0),
        ("Refused on top", "on_top_refused", 1.0, 0),
        ("Failed without", "without_failed", 1.0, 0),
        ("Failed with", "with_failed", 1.0, 0),
        ("Failed on top", "on_top_failed", 1.0, 0),
        ("Sent late p99 without, ms", "without_late_sends_p99_s", 1e3, 1),
        ("Sent late p99 with, ms", "with_late_sends_p99_s", 1e3, 1),
    )
    return figures_table(results, tail.PART, "Short texts, server as it comes", columns)
