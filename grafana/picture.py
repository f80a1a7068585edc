"""Pictures of panels for the documentation: what Prometheus answered, drawn as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from grafana.board import Panel

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 44, 90
LINES_MAX = 8
"""Series drawn; of more, the largest."""

_MIB = 1_048_576.0

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c6ade", "#0f9d9d", "#b07aa1", "#9c755f")

_STYLE = """
text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:14px;font-weight:600}
.grid{stroke:#ddd}.back{fill:#fff}
@media (prefers-color-scheme: dark){text{fill:#ddd}.grid{stroke:#444}.back{fill:#181b1f}}
"""


class Line(NamedTuple):
    """One series: its name, and its points as (seconds since the beginning, value)."""

    name: str
    points: Sequence[tuple[float, float]]


def name_of(legend: str, labels: Mapping[str, str]) -> str:
    """A series' name, as Grafana makes it of a legend."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def svg(panel: Panel, lines: Sequence[Line]) -> str:
    """A picture of a panel."""
    shown = sorted(lines, key=_size, reverse=True)[:LINES_MAX]
    # What was zero all the time would only fill the legend.
    shown = [line for line in shown if _size(line)] or shown
    shown.sort(key=lambda line: line.name)
    ticks = _moments(shown)
    values = [[dict(line.points).get(at, math.nan) for at in ticks] for line in shown]
    if panel.kind == "stacked":
        values = _stacked(values)
    unit = _MIB if panel.unit == "bytes" else 1.0
    highest = max((v for row in values for v in row if math.isfinite(v)), default=1.0)
    top = _nice(highest / unit) * unit
    canvas = _Canvas(ticks[-1] if ticks else 1.0, top)
    parts = [*canvas.frame(panel)]
    # The highest area first, so that the lower ones stand in front of it.
    for number in reversed(range(len(shown))):
        row = [(at, v) for at, v in zip(ticks, values[number], strict=True) if math.isfinite(v)]
        parts += canvas.line(row, COLOURS[number], filled=panel.kind == "stacked")
    parts += _legend([line.name for line in shown])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = f"<title>{escape(panel.title)}</title><style>{_STYLE}</style>"
    return "\n".join([head, title, *parts, "</svg>", ""])


class _Canvas:
    """Where a moment and a value are in the picture."""

    def __init__(self, seconds: float, top: float) -> None:
        self._seconds = seconds or 1.0
        self._top = top

    def x(self, at: float) -> float:
        return LEFT + at / self._seconds * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = HEIGHT - BOTTOM, TOP
        # What is below zero is cut off: all that is drawn is counted from zero.
        return low - max(0.0, value) / self._top * (low - high)

    def frame(self, panel: Panel) -> list[str]:
        parts = [
            f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
            f'<text class="title" x="12" y="24">{escape(panel.title)}</text>',
        ]
        for step in range(5):
            value = self._top * step / 4
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            text = _figure(value, panel.unit)
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for step in range(5):
            at = self._seconds * step / 4
            anchor = "end" if step == 4 else "middle"
            parts.append(
                f'<text x="{self.x(at):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                f'text-anchor="{anchor}">{at:.0f} s</text>'
            )
        return parts

    def line(self, row: Sequence[tuple[float, float]], colour: str, *, filled: bool) -> list[str]:
        if not row:
            return []
        path = "L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in row)
        drawn = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>']
        if filled:
            floor, first, last = HEIGHT - BOTTOM, self.x(row[0][0]), self.x(row[-1][0])
            area = f"M{first:.1f} {floor}L{path}L{last:.1f} {floor}Z"
            drawn.insert(0, f'<path d="{area}" fill="{colour}"/>')
        return drawn


def _legend(names: Sequence[str]) -> list[str]:
    parts, x, y = [], 12.0, HEIGHT - 50
    for number, name in enumerate(names):
        wide = 26 + 7.2 * len(name)
        if x + wide > WIDTH - RIGHT and x > 12:
            x, y = 12.0, y + 18
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 9}" width="10" height="10" fill="{COLOURS[number]}"/>'
            f'<text x="{x + 15:.1f}" y="{y}">{escape(name)}</text>'
        )
        x += wide
    return parts


def _size(line: Line) -> float:
    return sum(value for _, value in line.points if math.isfinite(value))


def _moments(lines: Sequence[Line]) -> list[float]:
    return sorted({at for line in lines for at, _ in line.points})


def _stacked(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each row on top of those before it; what is not there counts nothing."""
    whole: list[list[float]] = []
    below = [0.0] * (len(values[0]) if values else 0)
    for row in values:
        below = [b + (v if math.isfinite(v) else 0.0) for b, v in zip(below, row, strict=True)]
        whole.append(below)
    return whole


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.999)


def _figure(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / _MIB:.3g} MiB"
    if unit == "s" and value < 1:
        return f"{value * 1_000:.3g} ms"
    if unit == "percentunit":
        return f"{value:.0%}"
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {suffix}"
    return f"{value:.3g}" + {"s": " s", "ops": "/s"}.get(unit, "")
