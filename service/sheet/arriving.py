"""The sheet's drawing of how soon rewards come in: the share that is in by each age, with its spread."""

from __future__ import annotations

import math
from html import escape

from service.pb.lever.v1.experiment_pb2 import Arrival
from service.remote.words import arriving
from service.sheet.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale

_SECOND, _MINUTE, _HOUR, _DAY = 1000.0, 60_000.0, 3_600_000.0, 86_400_000.0
AGES = (
    (0.1 * _SECOND, "0.1 s"), (_SECOND, "1 s"), (10 * _SECOND, "10 s"), (_MINUTE, "1 min"), (10 * _MINUTE, "10 min"), (_HOUR, "1 h"),
    (6 * _HOUR, "6 h"), (_DAY, "1 day"), (7 * _DAY, "7 days"), (30 * _DAY, "30 days"), (180 * _DAY, "180 days"),
)  # fmt: skip
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def ages(found: Arrival) -> list[tuple[float, str]]:
    """Round ages to draw lines at."""
    first, last = found.age_ms[0], found.age_ms[-1]
    return [(ms, name) for ms, name in AGES if first <= ms <= last]


def arriving_curve(found: Arrival) -> str:
    """As SVG; ages on a logarithmic scale."""
    at = [math.log(max(ms, 8.0)) for ms in found.age_ms]
    x, y = Scale(at[0], at[-1], LEFT, WIDTH - RIGHT), Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    upper = [f"{x(t):.1f},{y(v):.1f}" for t, v in zip(at, found.high, strict=True)]
    lower = [f"{x(t):.1f},{y(v):.1f}" for t, v in zip(at, found.low, strict=True)][::-1]
    line = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in zip(at, found.share, strict=True))
    grid = "".join(
        f'<line class="{"zero" if mark == 0 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{100 * mark:.0f} %</text>'
        for mark in SHARES
    )
    for ms, name in ages(found):
        place = x(math.log(ms))
        anchor = "start" if place < LEFT + 20 else "end" if place > WIDTH - RIGHT - 20 else "middle"
        grid += (
            f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text x="{place:.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{name}</text>'
        )
    told = ((found.half_ms, 0.5), (found.most_ms, 0.9))
    dots = "".join(f'<circle class="middle" cx="{x(math.log(ms)):.1f}" cy="{y(part):.1f}" r="4"/>' for ms, part in told)
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(arriving(found))}">{grid}'
        f'<polygon class="band" points="{" ".join(upper + lower)}"/><polyline class="lift" points="{line}"/>{dots}</svg>'
    )
