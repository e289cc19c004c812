"""A scatter plot as SVG, for the few points that a command has: no library draws so little for so little."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 900
_HEIGHT: Final = 520
_LEFT: Final = 90
_BOTTOM: Final = 60
_TOP: Final = 50
_RIGHT: Final = 40
_TICKS: Final = 5
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_CHOSEN: Final = "#0b6e4f"
_OTHER: Final = "#7a8794"


@dataclass(frozen=True, slots=True)
class Point:
    """One plan: milliseconds for one text, tokens per second for many."""

    x: float
    y: float
    label: str
    is_chosen: bool


def draw_scatter(title: str, points: Sequence[Point]) -> str:
    """Return an SVG page; both axes begin at 0, so that distances are proportions."""
    step_x, step_y = _step(max(point.x for point in points)), _step(max(point.y for point in points))
    top_x = step_x * math.ceil(1.05 * max(point.x for point in points) / step_x)
    top_y = step_y * math.ceil(1.05 * max(point.y for point in points) / step_y)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / top_x
        return across, _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * y / top_y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, _TOP - 20, title, size=18),
        _text(_WIDTH - _RIGHT, _HEIGHT - 15, "one short text alone, milliseconds", anchor="end"),
        _text(_LEFT, _TOP - 2, "tokens per second"),
    ]
    for number in range(round(top_x / step_x) + 1):
        x, y = place(number * step_x, 0)
        parts.append(_text(x, y + 20, f"{number * step_x:g}", anchor="middle"))
    for number in range(round(top_y / step_y) + 1):
        x, y = place(0, number * step_y)
        parts.append(f'<line x1="{x}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#e3e7ea"/>')
        parts.append(_text(x - 8, y + 4, f"{number * step_y:,.0f}", anchor="end"))
    parts.extend(_mark(point, *place(point.x, point.y)) for point in sorted(points, key=lambda point: point.is_chosen))
    return "\n".join([*parts, "</svg>", ""])


def _step(most: float) -> float:
    """Return a round distance between ticks, so that about five fit."""
    unit = 10.0 ** math.floor(math.log10(most / _TICKS))
    return next(unit * factor for factor in _STEPS if unit * factor * _TICKS >= most)


def _mark(point: Point, x: float, y: float) -> str:
    color, weight = (_CHOSEN, "bold") if point.is_chosen else (_OTHER, "normal")
    is_right = x > _WIDTH / 2  # then its label goes to the left, where there is room
    label = _text(x - 10 if is_right else x + 10, y + 4, point.label, anchor="end" if is_right else "start", size=11)
    return f'<g fill="{color}" font-weight="{weight}"><circle cx="{x:.1f}" cy="{y:.1f}" r="6"/>{label}</g>'


def _text(x: float, y: float, content: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(content)}</text>'
