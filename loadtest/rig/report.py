"""How load tests show themselves: facts of the machine, progress, tables, plots, and one JSON line last.

Only the JSON line goes to stdout; all that is for people goes to stderr.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

NAMES = {"linucb": "contextual (linucb)", "beta": "context-free (beta)", "auto": "automatic (auto)"}


def console() -> Console:
    """For people: stderr; wide enough for the tables where it is a file."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 120)


def machine() -> dict[str, str | int]:
    """Facts that a measurement needs to be understood; nothing that names the machine."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def emit(record: Mapping[str, object]) -> None:
    """The one JSON line on stdout."""
    print(json.dumps(record, allow_nan=False), flush=True)


def progress(out: Console) -> Progress:
    """A progress bar that is silent where nobody looks."""
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*shown, TimeElapsedColumn(), TimeRemainingColumn(), console=out, disable=not out.is_terminal)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Left column text, the others numbers."""
    made = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        made.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def name(policy: str) -> str:
    """A policy for people."""
    return NAMES.get(policy, policy)


def percent(value: float) -> str:
    """With sign."""
    return f"{value:+.1%}"


def between(interval: tuple[float, float] | None) -> str:
    """A lift's interval."""
    return "" if interval is None else f"{interval[0]:+.1%} to {interval[1]:+.1%}"


def plot_learning(
    path: Path, title: str, marks: Floats, uniform: Floats, oracle: Floats, curves: Mapping[str, Floats]
) -> None:
    """PNG of the lift over uniform in each tenth of a run up to a point; curves are [seeds, marks] cumulative sums."""
    with Figure(path) as axes:
        for policy, curve in curves.items():
            _band(axes, marks, _windowed(marks, curve) / _windowed(marks, uniform) - 1.0, name(policy))
        ceiling = (_windowed(marks, oracle) / _windowed(marks, uniform) - 1.0).mean(axis=0)
        axes.plot(marks, ceiling, color="black", linestyle="--", label="oracle")
        axes.axhline(0.0, color="grey", linestyle=":", label="uniform")
        axes.set(title=title, xlabel="visitors", ylabel="lift of the true click rate over uniform, last tenth")
        axes.yaxis.set_major_formatter("{x:+.0%}")
        axes.legend()


def plot_overtaking(path: Path, title: str, marks: Floats, ahead: Floats, at: int | None) -> None:
    """PNG of how many clicks the contextual policy is ahead of the context-free one: `ahead` is [seeds, marks]."""
    with Figure(path) as axes:
        _band(axes, marks, ahead, "contextual minus context-free")
        axes.axhline(0.0, color="grey", linestyle=":")
        if at is not None:
            axes.axvline(at, color="black", linestyle="--", label=f"ahead for good after {at:,}")
        axes.set(title=title, xlabel="visitors", ylabel="expected clicks ahead")
        axes.legend()


def _windowed(marks: Floats, curve: Floats) -> Floats:
    """Mean of the last tenth of the run before each mark (of what there is so far at the start)."""
    width = max(1, len(marks) // 10)
    sums = np.atleast_2d(curve)
    before = np.concatenate([np.zeros((len(sums), width)), sums[:, :-width]], axis=1)[:, : len(marks)]
    since = np.concatenate([np.zeros(width), marks[:-width]])[: len(marks)]
    return np.asarray((sums - before) / (marks - since), dtype=np.float64)


def _band(axes: Axes, marks: Floats, values: Floats, label: str) -> None:
    """Mean over seeds, and least to greatest as a band."""
    (line,) = axes.plot(marks, values.mean(axis=0), label=label)
    if len(values) > 1:
        axes.fill_between(marks, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)


class Figure:
    """Axes of one PNG; matplotlib is imported only here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Axes:
        from matplotlib import figure
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self.figure = figure.Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(self.figure)
        return self.figure.add_subplot()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.figure.savefig(self.path, dpi=120)


def save(path: Path, record: Mapping[str, object]) -> None:
    """A record as a file that is read by people and by diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
