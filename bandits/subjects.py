"""Sums by bucket of subjects: what errors of lift and of arm effects are taken from, as subjects are what is random.

*Lift*, for (segment, policy or holdout, bucket of 256): trials, and of each metric the total. It counts since the holdout is
what it is: where its share or what it is served changes, the two sides are no longer of the same time, so it begins anew.

*Arms*, for (segment, arm, bucket of 64), of the primary metric: the policy's trials, each worth 1 / its propensity, so that an
arm stands for all traffic and not for those it was shown to; and the same of the default arm, counted only while this arm
could be drawn. An arm that joined late or came back is compared with the default of that time; it begins anew with it.

All cells are int64. A weight is a whole number of 1 / WEIGHT, at most MOST_WEIGHT; weights of an arm add up to about the trials
of its segment, so that 2^31 of them with rewards of 28 bits (bandits/grid.py) fit into a cell of one bucket in 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, INT, INTS, INTS3, INTS4_OUT, entry, jit
from bandits.cells import HELD, POLICY, SUBJECT_BUCKETS, group_of
from bandits.grid import taught
from bandits.layout import SUBSET
from bandits.rows import NEVER

if TYPE_CHECKING:
    from bandits.rows import Rows, Rules, Totals

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ARM_BUCKETS = 64
WEIGHT = 256.0
MOST_WEIGHT = 65536.0
SHOWN, EARNED, SQUARE = range(3)  # of an arm; then of the default arm beside it
SIDE = 3
SINCE, UNTIL, START, END = range(4)  # of a window: versions, then milliseconds


class Drawn(NamedTuple):
    """Of arms [.., 2] in a segment, the arm and the default beside it: sums as the docstring above has them."""

    weight: Floats  # f8[2,64]
    total: Floats  # f8[2,64], in units of q
    squares: Floats  # f8[2]: sums of squared weights


class Subjects:
    """The sums of one experiment. Part of a State, as safe as it."""

    KINDS = ("s", "e", "w", "h")  # what the names of its fields begin with

    def __init__(self, rules: Rules) -> None:
        self.lift = np.zeros((rules.segments, 2, 1 + rules.metrics, SUBJECT_BUCKETS), np.int64)
        self.arms = np.zeros((rules.segments, rules.arms, 2 * SIDE, ARM_BUCKETS), np.int64)
        self.since, self.since_ms = 0, 0  # version of the configuration from which lift counts, and its time
        self.begun = 0  # ms; arms count decisions from here on: before, nothing was kept of them
        self._drawable = rules.window()
        self.windows = np.zeros((rules.segments, rules.arms, 4), np.int64)
        self.windows[..., UNTIL] = NEVER
        self.windows[..., START:] = self._drawable

    # -- rules -------------------------------------------------------------------------------------------------

    def adopt(self, old: Rules, new: Rules) -> NDArray[np.bool_]:
        """Go on under new rules: what can no longer be compared begins anew. Returns [arms]: where anything of an arm does."""
        self.lift = grown(self.lift, (new.segments, 2, 1 + new.metrics, SUBJECT_BUCKETS))
        self.arms = grown(self.arms, (new.segments, new.arms, 2 * SIDE, ARM_BUCKETS))
        known, self.windows = self.windows, np.zeros((new.segments, new.arms, 4), np.int64)
        self.windows[..., SINCE], self.windows[..., UNTIL] = new.version, NEVER
        self.windows[: known.shape[0], : known.shape[1]] = known
        if new.control != old.control:
            self.lift[:] = 0
            self.since, self.since_ms = new.version, new.applied_ms
        wanted = self._drawable = new.window()
        had = grown(old.window(), wanted.shape)
        other = (wanted != had).any(axis=-1)
        open_now = wanted[..., 0] < wanted[..., 1]
        if new.control[-1] != old.control[-1]:
            other |= open_now  # another default arm
        self.windows[other & ~open_now, UNTIL] = new.version
        again = other & open_now
        self.arms[again] = 0
        self.windows[again, SINCE], self.windows[again, UNTIL] = new.version, NEVER
        self.windows[again, START:] = wanted[again]
        return np.asarray(again.any(axis=0))

    # -- fold --------------------------------------------------------------------------------------------------

    def add_trials(self, rows: Rows, rules: Rules) -> None:
        """Fold trial rows."""
        new = np.zeros(len(rows.time), np.int64)
        self._add(rows, rules, (new - 1, new, new, new + 1), np.zeros(6, np.int64))

    def add_rewards(self, rows: Rows, totals: Totals, rules: Rules, grid: Ints) -> None:
        """Fold reward rows; those that expose are trials too."""
        self._add(rows, rules, (totals.metric, totals.old, totals.new, totals.exposes), grid)

    def _add(self, rows: Rows, rules: Rules, what: tuple[Ints, Ints, Ints, Ints], grid: Ints) -> None:
        zero = np.zeros(len(rows.time), np.int64)
        version = rows.version if rows.version is not None else zero
        propensity = rows.propensity if rows.propensity is not None else zero.astype(np.float64)
        add(
            self.lift, self.arms, self.windows, self.since, self.begun, rules.control[-1], rules.primary,
            rows.time, rows.segment, rows.arm, rows.flags, rows.bucket, version, propensity, *what, grid,
        )  # fmt: skip

    def follow(self, other: Subjects) -> None:
        """Count from when the other does."""
        self.since, self.since_ms, self.begun, self.windows = (
            other.since,
            other.since_ms,
            other.begun,
            other.windows.copy(),
        )

    def add(self, other: Subjects, sign: int) -> None:
        """Add the other's sums (sign 1) or take them away (-1)."""
        self.lift += sign * other.lift
        self.arms += sign * other.arms

    # -- reading -----------------------------------------------------------------------------------------------

    def drawn(self, segment: int, arm: int) -> Drawn:
        """An arm and the default beside it."""
        cells = self.arms[segment, arm].reshape(2, SIDE, ARM_BUCKETS).astype(np.float64)
        return Drawn(cells[:, SHOWN] / WEIGHT, cells[:, EARNED] / WEIGHT, cells[:, SQUARE].sum(axis=1))

    # -- bytes -------------------------------------------------------------------------------------------------

    def fields(self) -> dict[str, bytes]:
        """Canonical: nothing is written of what is as in a new experiment."""
        out = {f"s/{s}/{g}": cut(self.lift[s, g].ravel()) for s, g in np.argwhere(self.lift.any(axis=(2, 3)))}
        for s, a in np.argwhere(self.arms.any(axis=(2, 3)) | (self.windows[..., :START] != (0, NEVER)).any(axis=-1)):
            head = self.windows[s, a, :START].astype("<i8").tobytes()
            out[f"e/{s}/{a}"] = head + cut(self.arms[s, a].ravel())
        for s, a in np.argwhere((self.windows[..., START:] != self._drawable).any(axis=-1)):
            out[f"w/{s}/{a}"] = self.windows[s, a, START:].astype("<i8").tobytes()  # of an arm that is closed now
        if self.since or self.begun:
            out["h"] = np.array([self.since, self.since_ms, self.begun], "<i8").tobytes()
        return out

    def restore(self, kind: str, key: tuple[int, ...], value: bytes) -> None:
        """Take in a field, of one of KINDS."""
        if kind == "s":
            fill(self.lift[key].reshape(-1), value)
        elif kind == "e":
            fill(self.windows[key][:START], value[:16])
            fill(self.arms[key].reshape(-1), value[16:])
        elif kind == "w":
            fill(self.windows[key][START:], value)
        else:
            self.since, self.since_ms, self.begun = (int(v) for v in np.frombuffer(value, "<i8"))


@jit
def weighed(propensity: float) -> int:
    """1 / propensity in units of 1 / WEIGHT."""
    return round(min(1.0 / propensity, MOST_WEIGHT) * WEIGHT)


@jit
def inside(window: Ints, version: int, time: int) -> bool:
    """Whether a decision falls into a window."""
    return bool(window[SINCE] <= version < window[UNTIL] and window[START] <= time < window[END])


@jit
def _add_drawn(cells: Ints, side: int, bucket: int, weight: int, trial: int, moved: int) -> None:
    """One row onto an arm's cells ([6, 64]) at `side`, 0 or 3."""
    whole = weight // 256
    cells[side + SHOWN, bucket] += trial * weight
    cells[side + EARNED, bucket] += moved * weight
    cells[side + SQUARE, bucket] += trial * whole * whole


@entry(INTS4_OUT, INTS4_OUT, INTS3, *[INT] * 4, *[INTS] * 6, FLOATS, *[INTS] * 5, nogil=True)
def add(
    lift: Ints,
    arms: Ints,
    windows: Ints,
    since: int,
    begun: int,
    default: int,
    primary: int,
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
    grid: Ints,
) -> None:
    """Add n rows to lift [segments, 2, 1 + metrics, 256] and arms [segments, arms, 6, 64].

    metric < 0: no reward; trial 1 where the row is one; old and new totals in `reward.unit`. A row without a propensity (0)
    is none that a policy drew. windows [segments, arms, 4].
    """
    for row in range(time.shape[0]):
        group, s, a = group_of(flags[row]), segment[row], arm[row]
        if group <= HELD and version[row] >= since:
            lift[s, group, 0, bucket[row]] += trial[row]
            if metric[row] >= 0:
                lift[s, group, 1 + metric[row], bucket[row]] += new[row] - old[row]
        if group != POLICY or not propensity[row] > 0.0 or time[row] < begun or flags[row] & SUBSET:
            continue  # of a caller's own arms an arm that was not among them could not have been drawn
        moved = taught(new[row], grid) - taught(old[row], grid) if metric[row] == primary else 0
        weight, at = weighed(propensity[row]), bucket[row] % ARM_BUCKETS
        if inside(windows[s, a], version[row], time[row]):
            _add_drawn(arms[s, a], 0, at, weight, trial[row], moved)
        if a == default:
            for other in range(arms.shape[1]):
                if other != default and inside(windows[s, other], version[row], time[row]):
                    _add_drawn(arms[s, other], SIDE, at, weight, trial[row], moved)


def grown(array: Ints, shape: tuple[int, ...], fill: int = 0) -> Ints:
    """A copy of the new shape, the old values in its corner."""
    if array.shape == shape:
        return array
    out = np.full(shape, fill, np.int64)
    out[tuple(slice(n) for n in array.shape)] = array
    return out


def cut(values: Ints) -> bytes:
    """The cells without trailing zeros."""
    used = np.flatnonzero(values)
    return values[: int(used[-1]) + 1 if len(used) else 0].astype("<i8").tobytes()


def fill(into: Ints, value: bytes) -> None:
    """The inverse of `cut`, whatever was there."""
    cells = np.frombuffer(value, "<i8")
    into[: len(cells)] = cells
    into[len(cells) :] = 0
