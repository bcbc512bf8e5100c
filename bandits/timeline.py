"""A segment's past, bucket by bucket: what each arm was shown, to whom, and what it earned."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS2_OUT, FLOATS3_OUT, INT, INTS, INTS2, entry
from bandits.cells import HELD, HISTORY, POLICY, REWARDED, TOTAL, column_offset, count_offset
from bandits.layout import X_SCALE
from bandits.posterior import Floats
from bandits.state import State

Ints = NDArray[np.int64]


class Timeline(NamedTuple):
    """B buckets in order of time, K arms, d of the learning columns; sums in natural units, rewards in [-1, 1].

    The holdout does not teach; here it is a control group, which no policy steers.
    """

    start: Ints  # i8[B], ms
    end: Ints  # i8[B], ms
    n: Floats  # f8[B,K] trials that teach
    x: Floats  # f8[B,K,d] their features
    s1: Floats  # f8[B,K] their rewards
    s2: Floats  # f8[B,K] and squares
    rewarded: Floats  # f8[B,K]
    held: Floats  # f8[B,K] trials of the holdout
    earned: Floats  # f8[B,K] and their rewards

    @classmethod
    def of(cls, state: State, segment: int, columns: Ints) -> Timeline:
        """The past of a segment over these learning columns."""
        rules, buckets = state.rules, len(state.buckets)
        n, s1, s2, rewarded, held, earned = (np.zeros((buckets, rules.arms)) for _ in range(6))
        x = np.zeros((buckets, rules.arms, len(columns)))
        start = np.array([b.start for b in state.buckets], np.int64)
        end = np.array([b.end for b in state.buckets], np.int64)
        unfold(
            np.ascontiguousarray(state.index[:, segment]), state.counts, state.learn, columns, rules.primary,
            n, x, s1, s2, rewarded, held, earned,
        )  # fmt: skip
        flat = (s1.ravel(), s2.ravel(), np.zeros((s1.size, 1)), rewarded.ravel())
        s1, s2 = (column.reshape(n.shape) for column in state.grid.natural(*flat)[:2])
        return cls(start, end, n, x, s1, s2, rewarded, held, earned / max(abs(rules.low), abs(rules.high), 1))


@entry(INTS2, INTS2, INTS2, INTS, INT, FLOATS2_OUT, FLOATS3_OUT, *[FLOATS2_OUT] * 5, nogil=True)
def unfold(
    index: Ints,
    counts: Ints,
    learn: Ints,
    columns: Ints,
    primary: int,
    n: Floats,
    x: Floats,
    s1: Floats,
    s2: Floats,
    rewarded: Floats,
    held: Floats,
    earned: Floats,
) -> None:
    """Fill the columns of a Timeline from a segment's blocks, index i8[B,K] (-1: none).

    `earned` is in `reward.unit`, s1 and s2 in units of the cells.
    """
    for b in range(index.shape[0]):
        for k in range(index.shape[1]):
            row = index[b, k]
            if row < 0:
                continue
            c, v = counts[row], learn[row]
            n[b, k] = c[POLICY] + c[HISTORY]
            for i in range(columns.shape[0]):
                x[b, k, i] = v[column_offset(columns[i]) + 1] / X_SCALE**2
            s1[b, k] = v[0]
            s2[b, k] = v[1]
            rewarded[b, k] = c[count_offset(primary, POLICY) + REWARDED] + c[count_offset(primary, HISTORY) + REWARDED]
            held[b, k] = c[HELD]
            earned[b, k] = c[count_offset(primary, HELD) + TOTAL]
