"""Curves of regret as a PNG: a panel a problem. matplotlib is imported only here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loadtest.learning.compare import Result, by_problem, toughest
from loadtest.learning.lever import NAME
from loadtest.learning.policies import is_lever
from loadtest.learning.runs import MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 4


def curves(path: Path, found: Sequence[Result], rounds: Mapping[str, int], title: str) -> None:
    """Cumulative regret of Lever, of the toughest peer and of the others (grey), mean over seeds, with two se."""
    from matplotlib import figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    groups = by_problem(found)
    down = max(1, math.ceil(len(groups) / ACROSS))
    drawn = figure.Figure(figsize=(4.0 * ACROSS, 3.0 * down), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(down, ACROSS, squeeze=False).ravel()
    for axes, (problem, group) in zip(panels, groups.items(), strict=False):
        _panel(axes, problem, group, rounds[problem])
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    drawn.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110)


def _panel(axes: Axes, problem: str, group: Sequence[Result], rounds: int) -> None:
    at = np.linspace(0, rounds, MARKS + 1)[1:]
    peer = toughest(group)
    named = [r for r in group if r.policy == NAME or r is peer] or list(group)
    for result in group:
        values = np.array([run.curve for run in result.runs])
        mean = values.mean(axis=0)
        if result in named:
            (line,) = axes.plot(at, mean, label=result.policy, zorder=3)
            if len(values) > 1:
                spread = 2.0 * values.std(axis=0, ddof=1) / math.sqrt(len(values))
                axes.fill_between(at, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0)
        else:
            axes.plot(at, mean, color="tab:blue" if is_lever(result.policy) else "grey", lw=0.6, alpha=0.5)
    axes.set_ylim(0.0, 2.0 * max(r.mean("regret") * rounds for r in named) or 1.0)
    axes.set_title(problem, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, loc="upper left")
