"""The sheet's drawings as SVG: an arm's interval on a scale that its segment shares, and the lift by day."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from html import escape

from service.sheet.figure import signed

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 220, 62, 14, 12, 26


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places between `first` and `last`."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        """The place, inside the scale."""
        part = (value - self.low) / (self.high - self.low or 1.0)
        return self.first + (self.last - self.first) * min(max(part, 0.0), 1.0)


def interval(low: float, middle: float, high: float, scale: Scale, beside: float | None) -> str:
    """An arm's interval with its expected value; a hair line where the holdout's mean is."""
    a, m, b = scale(low), scale(middle), scale(high)
    line = (
        f'<line class="held" x1="{scale(beside):.1f}" x2="{scale(beside):.1f}" y1="0" y2="18"/>'
        if beside is not None
        else ""
    )
    return (
        f'<svg class="interval" viewBox="0 0 160 18" width="160" height="18" aria-hidden="true">{line}'
        f'<line class="reach" x1="{a:.1f}" x2="{max(b, a + 1.0):.1f}" y1="9" y2="9"/>'
        f'<circle class="middle" cx="{m:.1f}" cy="9" r="3.6"/></svg>'
    )


def bar(part: float) -> str:
    """A share in [0, 1]."""
    return (
        '<svg class="bar" viewBox="0 0 60 9" width="60" height="9" aria-hidden="true">'
        f'<rect class="track" width="60" height="9" rx="1.5"/><rect class="part" width="{60 * part:.1f}" height="9" rx="1.5"/></svg>'
    )


def curve(days: list[tuple[int, float, float, float]]) -> str:
    """Lift by the end of each day (ms, value, low, high), with the band of its interval; of three days or more."""
    if len(days) < 3:
        return ""
    low, high = reach(days)
    x = Scale(days[0][0], days[-1][0], LEFT, WIDTH - RIGHT)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    upper = [f"{x(t):.1f},{y(b):.1f}" for t, _, _, b in days]
    lower = [f"{x(t):.1f},{y(a):.1f}" for t, _, a, _ in reversed(days)]
    line = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v, _, _ in days)
    grid = "".join(
        f'<line class="{"zero" if mark == 0 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{escape(f"{mark:+.0%}".replace("%", " %") if mark else "0")}</text>'
        for mark in marks(low, high)
    )
    dates = "".join(
        f'<text x="{x(days[i][0]):.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{day(days[i][0])}</text>'
        for i, anchor in ((0, "start"), (len(days) // 2, "middle"), (len(days) - 1, "end"))
    )
    last = days[-1]
    said = f"Lift by the end of each day; at last {signed(last[1])}, between {signed(last[2])} and {signed(last[3])}."
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">{grid}{dates}'
        f'<polygon class="band" points="{" ".join(upper + lower)}"/><polyline class="lift" points="{line}"/>'
        f'<circle class="middle" cx="{x(last[0]):.1f}" cy="{y(last[1]):.1f}" r="4"/></svg>'
    )


def reach(days: list[tuple[int, float, float, float]]) -> tuple[float, float]:
    """What to draw: all of the values, 0, and of the intervals what is not far out, as those of the first days are."""
    values = [v for _, v, _, _ in days] + [0.0]
    ends = sorted(end for _, _, a, b in days for end in (a, b) if math.isfinite(end))
    cut = len(ends) // 8
    kept = ends[cut : len(ends) - cut] or values
    low, high = min(*values, *kept[:1]), max(*values, *kept[-1:])
    room = 0.06 * (high - low or 1.0)
    return low - room, high + room


def marks(low: float, high: float) -> list[float]:
    """Round values to draw lines at, 0 among them."""
    step = 10.0 ** math.floor(math.log10((high - low) / 2.0))
    step = next(step * times for times in (0.5, 1.0, 2.0, 5.0, 10.0) if (high - low) / (step * times) <= 5.0)
    return [round(step * i, 9) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def day(ms: int) -> str:
    """3 Nov."""
    at = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    return f"{at.day} {at:%b}"
