"""What the plots show, as plain data: they are drawn in an environment of their own."""

from typing import Any

from bench import http, offline, overload
from bench.results import Results
from bench.server import COLUMNS
from bench.stats import spread
from bench.tables import http_titles


def charts(results: Results) -> list[dict[str, Any]]:
    """Return a chart for each part that was measured."""
    found = []
    if results.candidates(offline.PART):
        names = results.candidates(offline.PART)
        found.append(
            _bars(
                "offline",
                "Tokens/s without HTTP",
                names,
                {"": [_bar(results, offline.PART, name, "tokens_per_s") for name in names]},
            )
        )
    if results.candidates(http.PART):
        for load, title in (("batch", "32 texts a request, 4 clients"), ("single", "single texts, 32 clients")):
            titles = http_titles(results)
            groups = {
                column: [_bar(results, http.PART, f"{name}, {column}", f"{load}_tokens_per_s") for name in titles]
                for column in COLUMNS.values()
            }
            found.append(_bars(f"http-{load}", f"Tokens/s over HTTP, {title}", titles, groups))
    if results.candidates(overload.PART):
        found.append(_overload(results))
    return found


def _bars(file: str, title: str, labels: list[str], groups: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "bars", "file": file, "title": title, "labels": labels, "groups": groups}


def _bar(results: Results, part: str, candidate: str, name: str) -> list[float] | None:
    """Return median, least and greatest; nothing if it was not measured."""
    series = list(results.series(part, candidate, name).values())
    if not series:
        return None
    values = spread(series)
    return [values.median, values.low, values.high]


def _overload(results: Results) -> dict[str, Any]:
    lines: dict[str, list[list[float]]] = {}
    for name in results.candidates(overload.PART):
        title, _, load = name.rpartition(", ")
        shares = results.series(overload.PART, name, "good_share")
        lines.setdefault(title, []).append([float(load.split()[0]), spread([*shares.values()]).median])
    return {
        "kind": "lines",
        "file": "overload",
        "title": "Answers within 1 s, as a share of the capacity",
        "x": "load, times the capacity",
        "lines": lines,
    }
