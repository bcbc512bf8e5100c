"""Sums by bucket of subjects that guardrails judge an arm by, over all segments where it may be drawn.

For (arm, side, bucket of 64): trials, squared weights, and of every metric the total. The sides: *own*, the policy's trials of
the arm as they are; *drawn*, the same ones each worth 1 / its propensity, so that they stand for all traffic; *holdout*, what was
held out while and where the arm could be drawn. Choices among arms that a caller named are on the first side alone: an arm that was
not among them could not have been drawn. They begin anew when the arm comes back after a pause, when its dates
or segments change, and when the holdout or the default arm does: decisions of before no longer count, nor what they still earn.

All cells are int64. Totals have at most 28 bits (`shift`), so that they fit as those of bandits/subjects.py do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, INTS, INTS3, INTS4_OUT, entry
from bandits.cells import HELD, POLICY, group_of
from bandits.grid import MOST_BITS, shifted
from bandits.layout import SUBSET
from bandits.subjects import ARM_BUCKETS, WEIGHT, cut, fill, inside, weighed

if TYPE_CHECKING:
    from bandits.rows import Rows, Rules, Totals

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

OWN, DRAWN, HOLDOUT = range(3)
TRIALS, SQUARES, TOTALS = range(3)  # of a side; totals of the metrics follow each other


class Guarded:
    """The sums of one experiment; nothing is kept where it has no guardrails. Part of a State, as safe as it."""

    KINDS = ("g",)  # what the names of its fields begin with

    def __init__(self, rules: Rules) -> None:
        self.cells = np.zeros(_shape(rules), np.int64)
        self.since = np.zeros(len(self.cells), np.int64)  # version of the configuration from which an arm counts
        self._shift = np.array(rules.guarded, np.int64)

    def adopt(self, again: NDArray[np.bool_], old: Rules, new: Rules) -> None:
        """Go on under new rules. again [arms]: what is new or may be drawn otherwise than before."""
        begun = Guarded(new)
        begun.since[:] = new.version
        if old.guarded and new.guarded and old.control == new.control:
            stay = np.flatnonzero(~again[: len(self.cells)])
            begun.cells[stay, :, : self.cells.shape[2]], begun.since[stay] = self.cells[stay], self.since[stay]
        self.cells, self.since, self._shift = begun.cells, begun.since, begun._shift

    def follow(self, other: Guarded) -> None:
        """Count from when the other does."""
        self.since = other.since.copy()

    def add(self, other: Guarded, sign: int) -> None:
        """Add the other's sums (sign 1) or take them away (-1)."""
        self.cells += sign * other.cells

    def add_trials(self, rows: Rows, windows: Ints) -> None:
        """Fold trial rows. windows as in Subjects."""
        new = np.zeros(len(rows.time), np.int64)
        self._add(rows, windows, new - 1, new, new, new + 1)

    def add_rewards(self, rows: Rows, totals: Totals, windows: Ints) -> None:
        """Fold reward rows; those that expose are trials too."""
        self._add(rows, windows, totals.metric, totals.old, totals.new, totals.exposes)

    def _add(self, rows: Rows, windows: Ints, metric: Ints, old: Ints, new: Ints, trial: Ints) -> None:
        if not len(self.cells):
            return
        zero = np.zeros(len(rows.time), np.int64)
        version = rows.version if rows.version is not None else zero
        propensity = rows.propensity if rows.propensity is not None else zero.astype(np.float64)
        add(
            self.cells, windows, self.since, self._shift, rows.time, rows.segment, rows.arm, rows.flags,
            rows.bucket, version, propensity, metric, old, new, trial,
        )  # fmt: skip

    def pair(self, arm: int, side: int, metric: int) -> tuple[Floats, Floats, Floats]:
        """The arm's side (OWN or DRAWN) and below it the holdout: weights of trials, totals in the metric's unit (f8[2,64]), and
        sums of squared weights (f8[2]).
        """
        rows = self.cells[arm, [side, HOLDOUT]].astype(np.float64)
        scale = np.array([[WEIGHT if side == DRAWN else 1.0], [1.0]])
        total = rows[:, TOTALS + metric] * 2.0 ** int(self._shift[metric])
        return rows[:, TRIALS] / scale, total / scale, rows[:, SQUARES].sum(axis=1)

    def means(self, side: int, metric: int) -> Floats:
        """f8[arms]: mean total of a trial, in units of the metric; nan without trials."""
        trials, total = (self.cells[:, side, row].sum(axis=-1).astype(np.float64) for row in (TRIALS, TOTALS + metric))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / trials * 2.0 ** int(self._shift[metric]))

    def fields(self) -> dict[str, bytes]:
        """Canonical: nothing is written of what is as in a new experiment."""
        out = {}
        for arm in np.flatnonzero(self.cells.any(axis=(1, 2, 3)) | (self.since != 0)):
            out[f"g/{arm}"] = self.since[arm].astype("<i8").tobytes()
            for side in np.flatnonzero(self.cells[arm].any(axis=(1, 2))):
                out[f"g/{arm}/{side}"] = cut(self.cells[arm, side].ravel())
        return out

    def restore(self, kind: str, key: tuple[int, ...], value: bytes) -> None:
        """Take in a field, of one of KINDS."""
        arm, *side = key
        if side:
            fill(self.cells[arm, side[0]].reshape(-1), value)
        else:
            self.since[arm] = np.frombuffer(value, "<i8")[0]


def bits_dropped(limit: int) -> int:
    """How many of the lowest bits of totals up to `limit` units are not kept."""
    return max(limit.bit_length() - MOST_BITS, 0)


def _shape(rules: Rules) -> tuple[int, int, int, int]:
    return (rules.arms if rules.guarded else 0, 3, TOTALS + len(rules.guarded), ARM_BUCKETS)


@entry(INTS4_OUT, INTS3, *[INTS] * 8, FLOATS, *[INTS] * 4, nogil=True)
def add(
    cells: Ints,
    windows: Ints,
    since: Ints,
    shift: Ints,
    time: Ints,
    segment: Ints,
    arm: Ints,
    flags: Ints,
    bucket: Ints,
    version: Ints,
    propensity: Floats,
    metric: Ints,
    old: Ints,
    new: Ints,
    trial: Ints,
) -> None:
    """Add n rows to cells [arms, 3, 2 + metrics, 64]; windows [segments, arms, 4], since [arms], shift [metrics].

    metric < 0: no reward; trial 1 where the row is one; old and new totals in `reward.unit`.
    """
    for row in range(time.shape[0]):
        group, m, at = group_of(flags[row]), metric[row], bucket[row] % ARM_BUCKETS
        named = flags[row] & SUBSET != 0
        if group == POLICY and propensity[row] > 0.0:
            first, end = arm[row], arm[row] + 1
        elif group == HELD and not named:
            first, end = 0, cells.shape[0]
        else:
            continue
        moved = shifted(new[row], shift[m]) - shifted(old[row], shift[m]) if m >= 0 else 0
        for k in range(first, end):
            if version[row] < since[k] or not inside(windows[segment[row], k], version[row], time[row]):
                continue
            side = HOLDOUT if group == HELD else OWN
            cells[k, side, TRIALS, at] += trial[row]
            cells[k, side, SQUARES, at] += trial[row]
            if m >= 0:
                cells[k, side, TOTALS + m, at] += moved
            if group == POLICY and not named:
                weight = weighed(propensity[row])
                whole = weight // 256
                cells[k, DRAWN, TRIALS, at] += trial[row] * weight
                cells[k, DRAWN, SQUARES, at] += trial[row] * whole * whole
                if m >= 0:
                    cells[k, DRAWN, TOTALS + m, at] += moved * weight
