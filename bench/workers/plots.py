"""Draws charts, given as JSON on standard input, into a folder: python -m bench.workers.plots FOLDER."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_DPI = 100  # a chart of 800 pixels' width has some 20 kB
_WIDTH = 8.0


def draw_bars(axes: Any, chart: dict[str, Any]) -> None:
    """Draw horizontal bars from the median, with the span of all rounds."""
    groups = list(chart["groups"].items())
    height = 0.8 / len(groups)
    for number, (group, bars) in enumerate(groups):
        known = [(place, bar) for place, bar in enumerate(bars) if bar]
        places = [place + (number - (len(groups) - 1) / 2) * height for place, _ in known]
        middles = [bar[0] for _, bar in known]
        spans = [[bar[0] - bar[1] for _, bar in known], [bar[2] - bar[0] for _, bar in known]]
        axes.barh(places, middles, height=height, xerr=spans, label=group, error_kw={"elinewidth": 0.8})
    axes.set_yticks(range(len(chart["labels"])), chart["labels"])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    if len(groups) > 1:
        axes.legend()


def draw_lines(axes: Any, chart: dict[str, Any]) -> None:
    """Draw a line for each name."""
    for name, points in chart["lines"].items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set_xlabel(chart["x"])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def main() -> None:
    """Draw every chart."""
    folder = Path(sys.argv[1])
    for chart in json.load(sys.stdin):
        rows = len(chart.get("labels", ())) * len(chart.get("groups", ())) or 12
        figure, axes = plt.subplots(figsize=(_WIDTH, 1.2 + 0.28 * rows), dpi=_DPI, layout="constrained")
        (draw_bars if chart["kind"] == "bars" else draw_lines)(axes, chart)
        axes.set_title(chart["title"])
        figure.savefig(folder / f"{chart['file']}.png", metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
