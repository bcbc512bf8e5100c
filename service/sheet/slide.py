"""A report as a picture for a slide: who wins in each segment, the lift by day, how soon rewards come in. Needs matplotlib."""

from __future__ import annotations

import datetime as dt
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.pb.lever.v1.experiment_pb2 import (
    ArmReport,
    Arrival,
    GetReportResponse,
    GetTimelineResponse,
    SegmentReport,
)
from service.remote.words import arriving, number
from service.sheet.arriving import ages
from service.sheet.drawing import day, reach
from service.sheet.page import days, rank, unbroken

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ARMS = 8  # rows that there is room for
INK, SOFT, LINE, ACCENT = "#1f1d1a", "#625d54", "#e0dcd2", "#0a645a"


def slide(report: GetReportResponse, timeline: GetTimelineResponse, out: Path) -> None:
    """Draw it, 1920 by 1080 in PNG. ImportError without matplotlib."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    curve = days(report, timeline)
    with rc_context(
        {"text.color": INK, "axes.edgecolor": LINE, "xtick.color": SOFT, "ytick.color": INK, "font.size": 13}
    ):
        figure = Figure(figsize=(12.8, 7.2), facecolor="white")
        title = "\n".join(textwrap.wrap(unbroken(report.headline), 64))
        figure.text(0.045, 0.94, title, fontsize=20, fontweight="bold", va="top", linespacing=1.25)
        figure.text(0.045, 0.035, f"{report.name} · metric {report.metric}", color=SOFT, fontsize=11)
        right: list[Callable[[Axes], None]] = []
        if len(curve) >= 3:
            right.append(lambda axes: _curve(axes, curve))
        if report.HasField("arrival"):
            right.append(lambda axes: _arriving(axes, report.arrival))
        _winners(figure.add_axes((0.19, 0.14, 0.29 if right else 0.74, 0.58)), report)
        for place, drawn in enumerate(reversed(right)):
            high = 0.58 if len(right) == 1 else 0.21
            drawn(figure.add_axes((0.60, 0.14 + 0.37 * place, 0.36, high)))
        figure.savefig(out, dpi=150)


def winner(segment: SegmentReport) -> int | None:
    """The place of the arm that is the likeliest best; None while it is too early."""
    first = min(range(len(segment.arms)), key=lambda i: rank(segment, i), default=None)
    return None if first is None or math.isnan(segment.arms[first].probability_best) else first


def _rows(report: GetReportResponse) -> list[tuple[str, str, SegmentReport, ArmReport | None, bool]]:
    """What to show, in order: its name, what is said of it, its segment, its arm, whether it leads.

    Each segment's winner; of a single segment all arms, as far as there is room.
    """
    if len(report.segments) == 1:
        segment = report.segments[0]
        order = sorted(range(len(segment.arms)), key=lambda i: rank(segment, i))[:MOST_ARMS]
        best = winner(segment)
        arms = [(segment.arms[i], i == best) for i in order]
        return [
            (arm.arm, number(arm.posterior_mean), segment, arm, leads)
            for arm, leads in arms
            if not math.isnan(arm.posterior_mean)
        ]
    rows: list[tuple[str, str, SegmentReport, ArmReport | None, bool]] = []
    for segment in report.segments[:MOST_ARMS]:
        best = winner(segment)
        arm = None if best is None else segment.arms[best]
        rows.append(
            (segment.segment, "" if arm is None else f"{arm.arm}  {number(arm.posterior_mean)}", segment, arm, True)
        )
    return rows


def _winners(axes: Axes, report: GetReportResponse) -> None:
    """The intervals of the arms beside what the holdout earned."""
    rows = _rows(report)
    single = len(report.segments) == 1
    _bare(axes, "What each arm is expected to earn" if single else "The best arm, and what it is expected to earn")
    tops = [0.0]
    for row, (name, said, segment, arm, leads) in enumerate(rows):
        y, across = len(rows) - 1 - row, axes.get_yaxis_transform()
        axes.text(
            -0.04, y, name, transform=across, ha="right", va="center", fontweight="bold" if single and leads else None
        )
        if arm is None:
            axes.text(0.0, y, "too early", color=SOFT, va="center", transform=across)
            continue
        colour = ACCENT if leads else SOFT
        axes.plot(
            [arm.credible_low, arm.credible_high], [y, y], color=colour, linewidth=5, solid_capstyle="round", alpha=0.35
        )
        axes.plot([arm.posterior_mean], [y], "o", color=colour, markersize=9)
        label: dict[str, Any] = {"color": colour, "fontweight": "bold" if leads else "normal"}
        axes.annotate(
            said, (arm.posterior_mean, y), (0, 10), textcoords="offset points", ha="center", va="bottom", **label
        )
        tops.append(arm.credible_high)
        held = next(
            (t for t in segment.totals if t.group == "holdout" and t.metric == report.metric and t.trials), None
        )
        if held is not None:
            axes.plot([held.mean], [y], "|", color=SOFT, markersize=20, markeredgewidth=1.5)
            tops.append(held.mean)
            if not single or row == len(rows) - 1:
                told = f"holdout {number(held.mean)}"
                axes.annotate(
                    told,
                    (held.mean, y),
                    (0, -12),
                    textcoords="offset points",
                    ha="center",
                    va="top",
                    color=SOFT,
                    fontsize=10,
                )
    axes.set_yticks([])
    axes.set_ylim(-0.6, max(len(rows), 1) - 0.3)
    axes.set_xlim(0.0, 1.35 * max(tops) or 1.0)
    axes.set_xlabel(f"{report.metric} a trial", color=SOFT)


def _curve(axes: Axes, points: list[tuple[int, float, float, float]]) -> None:
    """Lift by the end of each day, with its interval."""
    from matplotlib.ticker import PercentFormatter

    _bare(axes, "Lift over the holdout, by day")
    x: list[Any] = [dt.datetime.fromtimestamp(ms / 1000, dt.UTC) for ms, *_ in points]
    low, high = reach(points)
    axes.fill_between(x, [p[2] for p in points], [p[3] for p in points], color=ACCENT, alpha=0.15, linewidth=0)
    axes.plot(x, [p[1] for p in points], color=ACCENT, linewidth=2.5)
    axes.plot(x[-1:], [points[-1][1]], "o", color=ACCENT, markersize=9)
    axes.axhline(0.0, color=SOFT, linewidth=1)
    axes.set_ylim(low, high)
    places = sorted({0, len(points) // 2, len(points) - 1})
    axes.set_xticks([x[i] for i in places], [day(points[i][0]) for i in places])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.grid(axis="y", color=LINE)
    axes.set_axisbelow(True)


def _arriving(axes: Axes, found: Arrival) -> None:
    """The share of rewards that is in by each age, with its interval."""
    from matplotlib.ticker import PercentFormatter

    _bare(axes, unbroken(arriving(found).capitalize()))
    axes.set_xscale("log")
    x = [max(ms, 8.0) for ms in found.age_ms]
    axes.fill_between(x, found.low, found.high, color=ACCENT, alpha=0.15, linewidth=0)
    axes.plot(x, found.share, color=ACCENT, linewidth=2.5)
    axes.plot([found.half_ms, found.most_ms], [0.5, 0.9], "o", color=ACCENT, markersize=8)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(0.0, 1.04)
    marks = ages(found)
    axes.set_xticks([ms for ms, _ in marks], [name for _, name in marks], fontsize=10)
    axes.minorticks_off()
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.grid(axis="y", color=LINE)
    axes.set_axisbelow(True)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, color=SOFT, pad=12)
    axes.set_facecolor("white")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
