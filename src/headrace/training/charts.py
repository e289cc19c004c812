"""Pictures of a training: how it learned, and what it takes for what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headrace.training.run import TrainingState

_DPI: Final = 120
_BLUE: Final = "#2a6f97"
_ORANGE: Final = "#c8553d"
_MOST_NAMED: Final = 30  # labels; with more of them their names and numbers would lie on each other


def draw_learning(state: TrainingState, title: str, path: Path) -> None:
    """Draw the loss of the steps and, to another scale, what was measured on the way."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = zip(*state.losses, strict=True)
    axes.plot(steps, losses, color=_BLUE, linewidth=1, alpha=0.35)
    axes.plot(steps, _smooth(losses), color=_BLUE, linewidth=1.8, label="loss")
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.set_ylim(bottom=0)
    if state.measured:
        _draw_measured(axes.twinx(), state)
    axes.grid(alpha=0.25)
    _save(figure, path)


def draw_confusion(table: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Draw how often each label (row) was taken for each (column), shaded by its share of the row."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 2.4 + 0.55 * min(len(labels), _MOST_NAMED)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="said", ylabel="true")
    if len(labels) <= _MOST_NAMED:
        places = range(len(labels))
        shown = [label if len(label) <= 20 else label[:19] + "…" for label in labels]  # noqa: PLR2004 - letters that fit
        axes.set_xticks(places, shown, rotation=45, ha="right")
        axes.set_yticks(places, shown)
        for row, column in np.ndindex(table.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004 - half the scale
            axes.text(column, row, f"{table[row, column]}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(picture, label="share of the true label", shrink=0.8)
    _save(figure, path)


def _draw_measured(axes: Axes, state: TrainingState) -> None:
    name = next(iter(state.measured[0][1]))
    steps = [step for step, _ in state.measured]
    values = [metrics[name] for _, metrics in state.measured]
    axes.plot(steps, values, color=_ORANGE, marker="o", markersize=4, label=name)
    best = state.measured[steps.index(state.best)] if state.best in steps else state.measured[-1]
    axes.annotate(
        f"{best[1][name]:.4f}", (best[0], best[1][name]), xytext=(0, 6), textcoords="offset points", ha="center"
    )
    axes.set_ylabel(f"{name}, on examples held back", color=_ORANGE)
    axes.margins(y=0.2)


def _smooth(values: Sequence[float]) -> NDArray[np.float64]:
    """Return the mean of each value and up to a fortieth of all around it."""
    half = len(values) // 40
    sums = np.concatenate(([0.0], np.cumsum(values)))
    begin = np.maximum(np.arange(len(values)) - half, 0)
    end = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return np.asarray((sums[end] - sums[begin]) / (end - begin), np.float64)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})  # without a version, the same training draws the same
