"""Slow, obvious twins of the fold: dictionaries of Python integers, one row at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from bandits.buckets import Bucket
from bandits.cells import SQUARE_HIGH, SQUARE_LOW, column_offset, count_offset
from bandits.state import Rules, State


@dataclass(frozen=True)
class Row:
    """One row of the log; `metric` None: a trial row, -1: an exposure."""

    time: int
    segment: int
    arm: int
    flags: int
    bucket: int
    x: tuple[int, ...]
    metric: int | None = None
    old: int = 0
    new: int = 0
    exposes: int = 0
    entered: int = 0
    propensity: float = 0.0
    version: int = 0


def oracle_grid(total: int, rules: Rules) -> int:
    """What a total teaches, by exact fractions; no reward stays 0.

    Coarse: round-half-even(clip(total) / s), s = max(|low|, |high|) / 32767. Fine: the total, in at most 28 bits.
    """
    if total == 0:
        return 0
    clipped, largest = min(max(total, rules.low), rules.high), max(abs(rules.low), abs(rules.high))
    if rules.grid == 1:
        return round(Fraction(clipped * 32767, largest))
    return shift(clipped, max(len(f"{largest:b}") - 28, 0))


def shift(value: int, bits: int) -> int:
    """value / 2^bits, rounded half to even."""
    return round(Fraction(value, 2**bits))


def oracle_shifts(rules: Rules) -> tuple[int, int]:
    """Bits that go of q x, so that 2^31 rows of |x| < 2^15 fit into 63 bits, and of q^2."""
    bits = min(len(f"{max(abs(rules.low), abs(rules.high)):b}"), 28)
    return (0, 0) if rules.grid == 1 else (max(bits - 16, 0), max(2 * bits - 31, 0))


def expand(row: tuple[int, ...], rules: Rules) -> tuple[int, ...]:
    """Learning columns of a row's main columns: what was not known yet is 0."""
    design = rules.design
    known = row + (0,) * (len(design.place) - len(row))
    out = [0] * rules.columns
    for j, value in zip(design.place.tolist(), known, strict=True):
        out[j] = value
    for target, i, j, sign in design.terms.tolist():
        out[target] += sign * ((known[i] * known[j] + 2048) // 4096)
    return tuple(min(max(value, -32767), 32767) for value in out)


def oracle_group(flags: int) -> int:
    return 1 if flags & 1 else 2 if flags & 8 else 3 if flags & 4 else 0


@dataclass
class OracleState:
    """The sums of the log, by what they are sums of. Time buckets are given from outside."""

    rules: Rules
    rows: list[Row] = field(default_factory=list)

    def cells(self, buckets: list[Bucket]) -> dict[tuple[object, ...], int]:
        """Every non-zero cell, named in words."""
        out: dict[tuple[object, ...], int] = defaultdict(int)
        for row in self.rows:
            (bucket,) = [b for b in buckets if b.start <= row.time < b.end]
            self._row(out, row, (bucket.start, bucket.width))
        return {k: v for k, v in out.items() if v}

    def _row(self, out: dict[tuple[object, ...], int], row: Row, when: tuple[int, int]) -> None:
        group = oracle_group(row.flags)
        slot = (*when, row.segment, row.arm)
        x = expand((4096, *row.x), self.rules)
        teaches = group in (0, 3)
        trials = 1 if row.metric is None else row.exposes
        if trials:
            out["trials", *slot, group] += trials
            if group < 2:
                out["subject trials", row.segment, group, row.bucket] += trials
            if teaches:
                for j in range(len(x)):
                    for i in range(j + 1):
                        out["xx", *slot, i, j] += trials * x[i] * x[j]
        self._drawn(out, row, group)
        if row.metric is None or row.metric < 0:
            return
        out["rewarded", *slot, group, row.metric] += (row.new != 0) - (row.old != 0)
        out["total", *slot, group, row.metric] += row.new - row.old
        out["square", *slot, group, row.metric] += row.new**2 - row.old**2
        if group < 2:
            out["subject total", row.segment, group, row.bucket, row.metric] += row.new - row.old
        if row.metric == self.rules.primary and teaches:
            new, old = (oracle_grid(t, self.rules) for t in (row.new, row.old))
            product, square = oracle_shifts(self.rules)
            out["q", *slot] += new - old
            out["qq", *slot] += shift(new**2, square) - shift(old**2, square)
            for j in range(len(x)):
                out["qx", *slot, j] += shift(new * x[j], product) - shift(old * x[j], product)
            if group == 0 and row.old == 0 and row.new != 0:
                delay = max(row.entered - row.time, 0)
                out["delay", *when, row.segment, min(31, (delay // 16).bit_length())] += 1

    def _drawn(self, out: dict[tuple[object, ...], int], row: Row, group: int) -> None:
        """Onto the row's arm, and where that is the default arm beside every other: inside the arm's window."""
        if group != 0 or row.propensity <= 0.0 or row.flags & 128:
            return
        weight, default = round(min(1 / row.propensity, 2**16) * 256), self.rules.control[2]
        sides = [(row.arm, "own")]
        if row.arm == default:
            sides += [(k, "default") for k in range(self.rules.arms) if k != default]
        for arm, side in sides:
            start, end = self.rules.window()[row.segment, arm].tolist()
            if not start <= row.time < end:
                continue
            where = (row.segment, arm, side, row.bucket % 64)
            trials = 1 if row.metric is None else row.exposes
            if trials:
                out["weight", *where] += trials * weight
                out["weight^2", *where] += trials * (weight // 256) ** 2
            if row.metric == self.rules.primary:
                out["weighed", *where] += weight * (oracle_grid(row.new, self.rules) - oracle_grid(row.old, self.rules))


def cells(state: State) -> dict[tuple[object, ...], int]:
    """The state's non-zero cells under the oracle's names."""
    out: dict[tuple[object, ...], int] = defaultdict(int)
    rules = state.rules
    for b, s, a in np.argwhere(state.index >= 0).tolist():
        counts, learn = (m[state.index[b, s, a]].tolist() for m in (state.counts, state.learn))
        slot = (state.buckets[b].start, state.buckets[b].width, s, a)
        for g in range(4):
            out["trials", *slot, g] = counts[g]
            for m in range(rules.metrics):
                at = count_offset(m, g)
                out["rewarded", *slot, g, m], out["total", *slot, g, m] = counts[at], counts[at + 1]
                out["square", *slot, g, m] = (counts[at + SQUARE_HIGH] << 32) + counts[at + SQUARE_LOW]
        out["q", *slot], out["qq", *slot] = learn[:2]
        for j in range(rules.columns):
            at = column_offset(j)
            out["qx", *slot, j] = learn[at]
            for i in range(j + 1):
                out["xx", *slot, i, j] = learn[at + 1 + i]
    for s, g, m, bucket in np.argwhere(state.subjects.lift).tolist():
        value = int(state.subjects.lift[s, g, m, bucket])
        key = ("subject trials", s, g, bucket) if m == 0 else ("subject total", s, g, bucket, m - 1)
        out[key] = value
    kinds = ("weight", "weighed", "weight^2")
    for s, a, row, bucket in np.argwhere(state.subjects.arms).tolist():
        side = ("own", "default")[row // 3]
        out[kinds[row % 3], s, a, side, bucket] = int(state.subjects.arms[s, a, row, bucket])
    for b, s, k in np.argwhere(state.delays).tolist():
        out["delay", state.buckets[b].start, state.buckets[b].width, s, k] = int(state.delays[b, s, k])
    return {k: v for k, v in out.items() if v}
