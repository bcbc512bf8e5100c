"""`python -m loadtest delay`: conversions come 0 to 3 days after the decision, and on day 5 a better arm arrives.

Three learners on the same shop: one that hears of conversions at once, which nobody can; `auto`, which weighs a decision by the share
of conversions that usually has come at its age; and `auto` without that, to which an arm of today is one that nobody wants. Told is
after how many days the new arm's share of the traffic, over a quarter of a day, is 90 % of what it is with the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.learning.drift import A_DAY, DAYS, STEP, Shop, Weather
from loadtest.rig import report

ARRIVAL, SPREAD = 5.0, 3.0  # days
AS_MUCH = 0.9
_QUARTER = A_DAY // STEP // 4

LATE = Weather(lambda _: (0.08, 0.07, 0.06, 0.11), change=ARRIVAL, spread=SPREAD, window=int(SPREAD), fourth=ARRIVAL)
LEARNERS = {
    "told at once": (replace(LATE, spread=0.0), True),
    "with the delay curve": (LATE, True),
    "without it": (LATE, False),
}

Floats = NDArray[np.float64]


def share(weather: Weather, remembers: bool, seeds: Sequence[int]) -> Floats:
    """f8[seeds, steps]: the best arm's share of the traffic, over the last quarter of a day."""
    shares = [Shop(weather, seed, 0.0, remembers=remembers).run().share for seed in seeds]
    even = np.ones(_QUARTER) / _QUARTER
    return np.array([np.convolve(one, even, "full")[: len(one)] for one in shares])


def reached(mine: Floats, best: Floats) -> float:
    """Days after the arrival until `mine` is AS_MUCH of `best`, both means over seeds, and stays so for a day; infinite: never.

    Looked for from a quarter of a day on, when the average has nothing of the time before the arrival in it.
    """
    first = round(ARRIVAL * A_DAY / STEP) + _QUARTER
    fine = mine.mean(axis=0)[first:] >= AS_MUCH * best.mean(axis=0)[first:]
    day = A_DAY // STEP
    held = [bool(fine[at : at + day].all()) for at in range(len(fine) - day)]
    return (held.index(True) + _QUARTER) * STEP / A_DAY if True in held else float("inf")


def draw(path: Path, shares: dict[str, Floats]) -> None:
    """All learners in one picture."""
    days = np.arange(DAYS * A_DAY // STEP) * STEP / A_DAY
    with report.Figure(path) as axes:
        for name, each in shares.items():
            axes.plot(days, each.mean(axis=0), label=name)
        axes.axvline(ARRIVAL, color="grey", linestyle=":", label="the new arm arrives")
        axes.axvline(ARRIVAL + SPREAD / 2, color="grey", linestyle="--", label="half a window later")
        axes.set(title="conversions after 0 to 3 days", xlabel="day", ylabel="share of the best arm")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.legend()


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where the new arm has its traffic within half a window, and would not without the curve."""
    options = argparse.ArgumentParser("python -m loadtest delay", description=__doc__)
    options.add_argument("--runs", type=int, default=10, help="seeds; default 10")
    options.add_argument("--plot", type=Path, help="PNG to draw")
    options.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    given = options.parse_args(arguments)
    shares = {name: share(weather, on, range(given.runs)) for name, (weather, on) in LEARNERS.items()}
    best, curve, without = shares.values()
    days = {"with_curve": reached(curve, best), "without": reached(without, best)}
    half = round((ARRIVAL + SPREAD / 2) * A_DAY / STEP)
    record = {
        "runs": given.runs,
        "window_days": SPREAD,
        "days_until_as_much": {name: None if day == float("inf") else day for name, day in days.items()},
        "share_half_a_window_later": {n: round(float(each.mean(axis=0)[half]), 3) for n, each in shares.items()},
        "reached": days["with_curve"] <= SPREAD / 2 < days["without"],
        "machine": report.machine(),
    }
    if given.plot:
        draw(given.plot, shares)
    report.console().print_json(data=record)
    if given.json:
        report.emit(record)
    return 0 if record["reached"] else 1
