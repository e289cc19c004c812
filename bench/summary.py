"""What a page of figures comes to: Headrace beside the best of the others, in a table that fits on a screen."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from bench import http, limits, offline, overload, tail
from bench.overload import FACTORS, SIZES
from bench.results import Results, paired
from bench.server import COLUMNS
from bench.stats import ratios, spread
from bench.tables import figure, spell, table

TITLE: Final = "In short"
_OURS: Final = offline.HEADRACE


def in_short(results: Results) -> list[str]:
    """Return the table, with a row for each thing that was measured."""
    rows = [row for make in _ROWS for row in make(results)]
    return table([TITLE, ""], rows) if rows else []


def _limits(results: Results) -> Iterable[list[str]]:
    """Compare with what the machine could do at most, in the floats that it multiplies the fastest."""
    floats = [name for name in results.candidates(limits.PART) if ", fp32 " in name or ", bf16 " in name]
    ours = results.series(offline.PART, _OURS, "tokens_per_s")
    yield from _beside(results, ours, limits.PART, floats, "tokens_per_s", "a list of texts, beside the bare products")


def _offline(results: Results) -> Iterable[list[str]]:
    figures = figure(results, offline.PART, _OURS, "tokens_per_s")
    others = [name for name in results.candidates(offline.PART) if not name.startswith(_OURS)]
    ours = results.series(offline.PART, _OURS, "tokens_per_s")
    yield from _beside(results, ours, offline.PART, others, "tokens_per_s", f"a list of texts: {figures} tokens/s")


def _http(results: Results) -> Iterable[list[str]]:
    for load, title in (("batch", "32 texts a request"), ("single", "single texts")):
        name = f"{load}_tokens_per_s"
        for column in COLUMNS.values():
            ours = f"{_OURS}, {column}"
            others = [
                each
                for each in results.candidates(http.PART)
                if each.endswith(f", {column}") and not each.startswith(_OURS)
            ]
            what = f"{title}, servers {column}: {figure(results, http.PART, ours, name)} tokens/s"
            yield from _beside(results, results.series(http.PART, ours, name), http.PART, others, name, what)


def _overload(results: Results) -> Iterable[list[str]]:
    for per_request, _ in SIZES:
        name = overload.candidate(_OURS, per_request, FACTORS[-1])
        if results.series(overload.PART, name, "good_share_left"):
            share = figure(results, overload.PART, name, "good_share_left", scale=100)
            yield [f"{name.removeprefix(f'{_OURS}, ')} the capacity", f"{share} % of it answered within a second"]


def _tail(results: Results) -> Iterable[list[str]]:
    if results.series(tail.PART, _OURS, "p99_ratio"):
        ratio = figure(results, tail.PART, _OURS, "p99_ratio", digits=2)
        yield ["p99 of short texts, with long ones among them", f"{ratio} x that without"]


_ROWS: Final[tuple[Callable[[Results], Iterable[list[str]]], ...]] = (_limits, _offline, _http, _overload, _tail)


def _beside(
    results: Results, ours: Mapping[int, float], part: str, others: list[str], name: str, what: str
) -> Iterable[list[str]]:
    """Yield a row that compares a figure of ours, by round, with that of the best of others, if rounds have both."""
    best = _best(results, part, others, name)
    if best is None:
        return
    first, second = paired(ours, results.series(part, best, name))
    if first:
        yield [what, f"{spell(ratios(first, second), 2)} x {best}"]


def _best(results: Results, part: str, names: list[str], figure_name: str) -> str | None:
    """Return the candidate with the greatest median of a figure."""
    series = {each: results.series(part, each, figure_name) for each in names}
    medians = {each: spread([*values.values()]).median for each, values in series.items() if values}
    return max(medians, key=medians.__getitem__, default=None)
