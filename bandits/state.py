"""The state of one experiment: int64 sums, the fold of its log up to some entry.

A (bucket, segment, arm) gets a block with its first row; `index` says where. Same rows, same rules: equal `fields()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bandits.buckets import Bucket, containing, fine_width, next_settle, settle
from bandits.cells import DELAY_BINS, counts_size, learn_size
from bandits.fold import fold_rewards, fold_trials, gather
from bandits.grid import Grid, grid_of
from bandits.guarded import Guarded
from bandits.layout import X_SCALE
from bandits.periods import Periods
from bandits.posterior import Sums
from bandits.rows import Rows, Rules, Totals, Weights
from bandits.subjects import Subjects, cut, fill, grown

__all__ = ["Rows", "Rules", "State", "Totals", "Weights"]

Ints = NDArray[np.int64]


class State:
    """All sums of one experiment. Not safe for use by two threads at once."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.buckets: list[Bucket] = []
        self.index = np.full((0, rules.segments, rules.arms), -1, np.int64)
        self.delays = np.zeros((0, rules.segments, DELAY_BINS), np.int64)
        self.counts = np.zeros((0, counts_size(rules.metrics)), np.int64)
        self.learn = np.zeros((0, learn_size(rules.columns)), np.int64)
        self.subjects = Subjects(rules)
        self.periods = Periods(rules)
        self.guarded = Guarded(rules)
        self.grid: Grid = grid_of(rules.low, rules.high, rules.grid)
        self.rejected = 0  # rows that named a number the rules do not have; always 0 unless the log is damaged
        self._free: list[int] = []
        self._due = 0

    # -- rules -------------------------------------------------------------------------------------------------

    def adopt(self, rules: Rules) -> None:
        """Go on under new rules; what was summed stays. Sizes may only grow."""
        old = self.rules
        if any(new < was for new, was in zip(rules[:4], old[:4], strict=True)):
            raise ValueError(f"sizes never shrink: {old} to {rules}")
        self.rules, self.grid = rules, grid_of(rules.low, rules.high, rules.grid)
        self.index = grown(self.index, (len(self.buckets), rules.segments, rules.arms), -1)
        self.delays = grown(self.delays, (len(self.buckets), rules.segments, DELAY_BINS))
        self.counts = grown(self.counts, (len(self.counts), counts_size(rules.metrics)))
        self.learn = grown(self.learn, (len(self.learn), learn_size(rules.columns)))
        self.guarded.adopt(self.subjects.adopt(old, rules), old, rules)
        self.periods.adopt(old, rules)
        self._due = 0

    # -- fold --------------------------------------------------------------------------------------------------

    def add_trials(self, rows: Rows) -> None:
        """Fold trial rows."""
        rows = self._known(rows)
        if len(rows.time):
            _, block = self._locate(rows)
            design = self.rules.design
            fold_trials(
                self.counts, self.learn, block, rows.flags,
                self._fit(rows.x), design.place, design.terms, self.rules.columns,
            )  # fmt: skip
            self.subjects.add_trials(rows, self.rules)
            self.periods.add_trials(rows, self.rules)
            self.guarded.add_trials(rows, self.subjects.windows)

    def add_rewards(self, rows: Rows, totals: Totals) -> None:
        """Fold reward rows."""
        good = self._good(rows) & (totals.metric < self.rules.metrics)
        if not good.all():
            self.rejected += int((~good).sum())
            rows = rows.where(good)
            totals = totals.where(good)
        if len(rows.time):
            period, block = self._locate(rows)
            rules, design = self.rules, self.rules.design
            fold_rewards(
                self.counts, self.learn, self.delays, block, period,
                rows.segment, rows.flags, self._fit(rows.x),
                totals.metric, totals.old, totals.new, totals.exposes, totals.delay,
                rules.primary, self.grid.packed, design.place, design.terms, rules.columns,
            )  # fmt: skip
            self.subjects.add_rewards(rows, totals, rules, self.grid.packed)
            self.periods.add_rewards(rows, totals, rules)
            self.guarded.add_rewards(rows, totals, self.subjects.windows)

    def settle(self, now_ms: int) -> None:
        """Merge the buckets that are due when the entry of this time is folded."""
        self.periods.settle(now_ms, self.rules.horizon_ms)
        if now_ms < self._due:
            return
        self._rearrange(settle(self.buckets, now_ms, self.rules.horizon_ms))
        self._due = next_settle(self.buckets, self.rules.horizon_ms)

    def _good(self, rows: Rows) -> NDArray[np.bool_]:
        good: NDArray[np.bool_] = (rows.segment < self.rules.segments) & (rows.arm < self.rules.arms)
        return good

    def _known(self, rows: Rows) -> Rows:
        good = self._good(rows)
        if good.all():
            return rows
        self.rejected += int((~good).sum())
        return rows.where(good)

    def _fit(self, x: NDArray[np.int16]) -> NDArray[np.int16]:
        """Features as the kernels take them: contiguous, and no wider than the rules (the rest is zero padding)."""
        return np.ascontiguousarray(x[:, : len(self.rules.design.place) - 1])

    def _locate(self, rows: Rows) -> tuple[Ints, Ints]:
        """Time bucket and block of each row, opened and allocated where they were missing."""
        period = self._periods(rows.time)
        if (period < 0).any():
            fine = fine_width(self.rules.horizon_ms)
            missing = {containing(int(t), fine) for t in np.unique(rows.time[period < 0])}
            self._rearrange(settle([*self.buckets, *missing], -(2**62), self.rules.horizon_ms))
            self._due = 0
            period = self._periods(rows.time)
        block = self.index[period, rows.segment, rows.arm]
        if (block < 0).any():
            self._allocate(period[block < 0], rows.segment[block < 0], rows.arm[block < 0])
            block = self.index[period, rows.segment, rows.arm]
        return period, block

    def _periods(self, time: Ints) -> Ints:
        """Index of the bucket that contains each time, -1 where none does."""
        if not self.buckets:
            return np.full(len(time), -1, np.int64)
        starts = np.array([b.start for b in self.buckets], np.int64)
        ends = np.array([b.end for b in self.buckets], np.int64)
        at = np.searchsorted(starts, time, side="right") - 1
        return np.where((at >= 0) & (time < ends[at]), at, -1)

    def _allocate(self, period: Ints, segment: Ints, arm: Ints) -> None:
        wanted = np.unique(np.stack([period, segment, arm], axis=1), axis=0)
        while len(self._free) < len(wanted):
            size = len(self.counts)
            more = max(16, size, len(wanted))
            self.counts = grown(self.counts, (size + more, self.counts.shape[1]))
            self.learn = grown(self.learn, (size + more, self.learn.shape[1]))
            self._free.extend(range(size + more - 1, size - 1, -1))
        for p, s, a in wanted:
            self.index[p, s, a] = self._free.pop()

    # -- buckets -----------------------------------------------------------------------------------------------

    def _rearrange(self, buckets: list[Bucket]) -> None:
        """Go over to other buckets, each of which takes in the old ones that lie inside it."""
        if buckets == self.buckets:
            return
        old, index, delays = self.buckets, self.index, self.delays
        self.buckets = buckets
        self.index = np.full((len(buckets), *index.shape[1:]), -1, np.int64)
        self.delays = np.zeros((len(buckets), *delays.shape[1:]), np.int64)
        target = self._periods(np.array([b.start for b in old], np.int64))
        for source, at in enumerate(target):
            self.delays[at] += delays[source]
            for s, a in zip(*np.nonzero(index[source] >= 0), strict=True):
                self._move(int(index[source, s, a]), (int(at), int(s), int(a)))

    def add(self, other: State, sign: int) -> None:
        """Add the sums of another state under the same rules (sign 1), or take away what is part of this one (-1)."""
        if sign > 0:
            buckets = settle([*self.buckets, *other.buckets], -(2**62), self.rules.horizon_ms)
            self._rearrange(buckets)
            other._rearrange(buckets)
        at = {bucket: i for i, bucket in enumerate(self.buckets)}
        for b, s, a, row in other._blocks():
            place = (at[other.buckets[b]], s, a)
            if self.index[place] < 0:
                self._allocate(*(np.array([i], np.int64) for i in place))
            mine = self.index[place]
            self.counts[mine] += sign * other.counts[row]
            self.learn[mine] += sign * other.learn[row]
            if sign < 0 and not self.counts[mine].any() and not self.learn[mine].any():
                self.index[place] = -1
                self._free.append(int(mine))
        for b, bucket in enumerate(other.buckets):
            self.delays[at[bucket]] += sign * other.delays[b]
        self.subjects.add(other.subjects, sign)
        self.guarded.add(other.guarded, sign)
        self.periods.add(other.periods, sign)
        self.tidy()

    def tidy(self) -> None:
        """Drop the buckets in which nothing is, as if they had never been opened."""
        used = np.flatnonzero((self.index >= 0).any(axis=(1, 2)) | self.delays.any(axis=(1, 2)))
        self.buckets = [self.buckets[i] for i in used.tolist()]
        self.index, self.delays, self._due = self.index[used], self.delays[used], 0

    def hollow(self) -> State:
        """A state without sums that takes rows as this one does: into the same buckets, windows and eras."""
        out = State(self.rules)
        out._rearrange(self.buckets)
        out.subjects.follow(self.subjects)
        out.guarded.follow(self.guarded)
        out.periods.follow(self.periods)
        return out

    def _move(self, row: int, to: tuple[int, int, int]) -> None:
        into = int(self.index[to])
        if into < 0:
            self.index[to] = row
            return
        self.counts[into] += self.counts[row]
        self.learn[into] += self.learn[row]
        self.counts[row] = 0
        self.learn[row] = 0
        self._free.append(row)

    def begin_periods(self, now_ms: int) -> None:
        """Take over into `periods` what came before they were kept: it stands on the first day of its time bucket."""
        for b, s, a, row in self._blocks():
            self.periods.take_over(self.buckets[b].start, s, a, self.counts[row])
        self.periods.take_over_lift(self.subjects, self.rules, now_ms)

    # -- reading -----------------------------------------------------------------------------------------------

    def sums(self, segment: int, weights: Weights | None = None) -> Sums:
        """What the policies see of a segment: natural units, weighted (1 where no weights are given)."""
        arms, d = self.rules.arms, self.rules.columns
        ones = np.ones((len(self.buckets), arms))
        trials, rewards = weights or Weights(ones, ones)
        n, rewarded, s1, s2 = (np.zeros(arms) for _ in range(4))
        xx, xr = np.zeros((arms, d, d)), np.zeros((arms, d))
        gather(
            np.ascontiguousarray(self.index[:, segment]), trials, rewards, self.counts, self.learn, self.rules.primary,
            n, rewarded, s1, s2, xx, xr,
        )  # fmt: skip
        # A killed server can lose trials whose rewards arrived: never more rewards than trials.
        n = np.maximum(n, rewarded)
        s1, s2, xr = self.grid.natural(s1, s2, xr, rewarded)
        return Sums(n, rewarded, s1, s2, xx / X_SCALE**2, xr / X_SCALE)

    def aged(self, now_ms: int, half_life_ms: int) -> NDArray[np.float64]:
        """f8[B]: forgetting as configured. A bucket counts 2^-(age of its middle / half-life)."""
        middle = np.array([b.start + b.width / 2 for b in self.buckets])
        return np.asarray(np.exp2(-np.maximum(now_ms - middle, 0.0) / half_life_ms))

    def lifetime(self, segment: int) -> Ints:
        """Unweighted counts of a segment's arms over all time, [arms, counts]."""
        total = np.zeros((self.rules.arms, self.counts.shape[1]), np.int64)
        for row in self.index[:, segment]:  # of one time bucket
            total[row >= 0] += self.counts[row[row >= 0]]
        return total

    def _blocks(self) -> Iterator[tuple[int, int, int, int]]:
        for b, s, a in np.argwhere(self.index >= 0):
            yield int(b), int(s), int(a), int(self.index[b, s, a])

    # -- bytes -------------------------------------------------------------------------------------------------

    def fields(self) -> dict[str, bytes]:
        """The canonical serialisation, by field name. Trailing zeros are cut, so later columns change nothing."""
        out = self.subjects.fields() | self.guarded.fields() | self.periods.fields()
        for b, s, a, row in self._blocks():
            start, width = self.buckets[b]
            out[f"c/{start}/{width}/{s}/{a}"] = _pair(self.counts[row], self.learn[row])
        for b, s in np.argwhere(self.delays.any(axis=2)):
            out[f"d/{self.buckets[b].start}/{self.buckets[b].width}/{s}"] = cut(self.delays[b, s])
        return out

    @classmethod
    def restore(cls, rules: Rules, fields: Mapping[str, bytes]) -> State:
        """The state whose `fields()` these are. ValueError where they are not such fields."""
        state, named = cls(rules), _named(fields)
        state._rearrange(_disjoint(Bucket(*key[:2]) for kind, key, _ in named if kind in ("c", "d")))
        at = state._places()
        places = [(at[key[:2]], *key[2:]) for kind, key, _ in named if kind == "c"]
        if places:
            period, segment, arm = (np.array(c, np.int64) for c in zip(*places, strict=True))
            state._allocate(period, segment, arm)
        state._take(named)
        return state

    def renew(self, fields: Mapping[str, bytes]) -> bool:
        """Take over those fields of another state that are not as here. False, and nothing is done, where a block is new."""
        named, at = _named(fields), self._places()
        for kind, key, _ in named:
            if kind in ("c", "d") and key[:2] not in at:
                return False
            if kind == "c" and self.index[at[key[:2]], key[2], key[3]] < 0:
                return False
        self._take(named)
        return True

    def _places(self) -> dict[tuple[int, ...], int]:
        return {(bucket.start, bucket.width): i for i, bucket in enumerate(self.buckets)}

    def _take(self, fields: Iterable[tuple[str, tuple[int, ...], bytes]]) -> None:
        takers = {kind: part.restore for part in (self.subjects, self.guarded, self.periods) for kind in part.KINDS}
        at = self._places()
        for kind, key, value in fields:
            if kind in takers:
                takers[kind](kind, key, value)
            elif kind == "d":
                fill(self.delays[at[key[:2]], key[2]], value)
            elif kind == "c":
                row = int(self.index[at[key[:2]], key[2], key[3]])
                size = int(np.frombuffer(value, "<u4", 1)[0])
                fill(self.counts[row], value[4 : 4 + 8 * size])
                fill(self.learn[row], value[4 + 8 * size :])
            else:
                raise ValueError(f"unknown field {kind!r}")


def _named(fields: Mapping[str, bytes]) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Fields by their kind and the numbers of their name."""
    parted = ((name.split("/"), value) for name, value in fields.items())
    return [(parts[0], tuple(map(int, parts[1:])), value) for parts, value in parted]


def _disjoint(buckets: Iterable[Bucket]) -> list[Bucket]:
    out = sorted(set(buckets))
    if any(out[i].end > out[i + 1].start for i in range(len(out) - 1)):
        raise ValueError("time buckets overlap")
    return out


def _pair(counts: Ints, learn: Ints) -> bytes:
    first = cut(counts)
    return np.array([len(first) // 8], "<u4").tobytes() + first + cut(learn)
