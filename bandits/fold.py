"""The fold kernels: rows of the log into sums. Order does not matter; every addition is an integer one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import (
    CELLS2,
    FLOATS2,
    FLOATS2_OUT,
    FLOATS3_OUT,
    FLOATS_OUT,
    INT,
    INTS,
    INTS2,
    INTS2_OUT,
    INTS3_OUT,
    entry,
    jit,
)
from bandits.cells import (
    HELD,
    HISTORY,
    OUTSIDE,
    POLICY,
    REWARDED,
    SQUARE_HIGH,
    SQUARE_LOW,
    TOTAL,
    column_offset,
    count_offset,
    delay_bin,
    group_of,
)
from bandits.expansion import expand
from bandits.grid import PRODUCT, SQUARE, shifted, taught
from bandits.layout import X_SCALE

Ints = NDArray[np.int64]


@jit
def _add_trial(counts: Ints, learn: Ints, group: int, x: NDArray[np.int16], times: int | np.int64) -> None:
    counts[group] += times
    if group in (HELD, OUTSIDE):
        return
    learn[column_offset(0) + 1] += times * X_SCALE * X_SCALE
    for j in range(x.shape[0]):
        xj = np.int64(x[j])
        if xj != 0:
            at = column_offset(j + 1) + 1
            much = times * xj
            learn[at] += X_SCALE * much
            for i in range(j):
                learn[at + 1 + i] += np.int64(x[i]) * much
            learn[at + 1 + j] += xj * much


@jit
def _learn_from(x: NDArray[np.int16], place: Ints, terms: Ints, z: Ints, wide: NDArray[np.int16]) -> None:
    """Fill `wide` with the learning columns of a row, the constant left out; z is scratch."""
    expand(x, 1, place, terms, z)
    for j in range(wide.shape[0]):
        wide[j] = z[j + 1]


@entry(INTS2_OUT, INTS2_OUT, *[INTS] * 2, CELLS2, INTS, INTS2, INT, nogil=True)
def fold_trials(
    counts: NDArray[np.int64],
    learn: NDArray[np.int64],
    block: Ints,
    flags: Ints,
    x: NDArray[np.int16],
    place: Ints,
    terms: Ints,
    columns: int,
) -> None:
    """Add n trials. counts [blocks, .], learn [blocks, .] are added to.

    block, flags: [n]; x: [n, F - 1] in units of 2^-12, without the constant.
    place, terms as in expansion.Design, which has `columns` learning columns.
    """
    z, wide = np.zeros(columns, np.int64), np.zeros(columns - 1, np.int16)
    for row in range(block.shape[0]):
        _learn_from(x[row], place, terms, z, wide)
        _add_trial(counts[block[row]], learn[block[row]], group_of(flags[row]), wide, 1)


@jit
def _add_learning(learn: Ints, old_q: int, new_q: int, x: NDArray[np.int16], grid: Ints) -> None:
    product, square = grid[PRODUCT], grid[SQUARE]
    learn[0] += new_q - old_q
    learn[1] += shifted(new_q * new_q, square) - shifted(old_q * old_q, square)
    learn[column_offset(0)] += shifted(new_q * X_SCALE, product) - shifted(old_q * X_SCALE, product)
    for j in range(x.shape[0]):
        if x[j] != 0:
            xj = int(x[j])
            learn[column_offset(j + 1)] += shifted(new_q * xj, product) - shifted(old_q * xj, product)


@entry(
    INTS2_OUT, INTS2_OUT, INTS3_OUT, *[INTS] * 4, CELLS2, *[INTS] * 5, INT, INTS, INTS, INTS2, INT,
    nogil=True,
)  # fmt: skip
def fold_rewards(
    counts: NDArray[np.int64],
    learn: NDArray[np.int64],
    delays: NDArray[np.int64],
    block: Ints,
    period: Ints,
    segment: Ints,
    flags: Ints,
    x: NDArray[np.int16],
    metric: Ints,
    old: Ints,
    new: Ints,
    exposes: Ints,
    delay: Ints,
    primary: int,
    grid: Ints,
    place: Ints,
    terms: Ints,
    columns: int,
) -> None:
    """Add n reward rows (metric < 0: an exposure only). See fold_trials; delays [buckets, segments, 32] is added to.

    period [n] is the row's time bucket; old and new totals in `reward.unit`; exposes 0, 1, or -1 where a trial
    is taken back; delay in ms.
    primary is the number of the metric that teaches, grid its Grid.packed.
    """
    z, wide = np.zeros(columns, np.int64), np.zeros(columns - 1, np.int16)
    for row in range(block.shape[0]):
        group = group_of(flags[row])
        cells = counts[block[row]]
        _learn_from(x[row], place, terms, z, wide)
        if exposes[row]:
            _add_trial(cells, learn[block[row]], group, wide, exposes[row])
        if metric[row] < 0:
            continue
        before, after = old[row], new[row]
        at = count_offset(metric[row], group)
        cells[at + REWARDED] += np.int64(after != 0) - np.int64(before != 0)
        cells[at + TOTAL] += after - before
        cells[at + SQUARE_HIGH] += (after * after >> 32) - (before * before >> 32)
        cells[at + SQUARE_LOW] += (after * after & 0xFFFFFFFF) - (before * before & 0xFFFFFFFF)
        if metric[row] == primary and group in (POLICY, HISTORY):
            was, now = taught(before, grid), taught(after, grid)
            _add_learning(learn[block[row]], was, now, wide, grid)
            if group == POLICY and before == 0 and after != 0:
                delays[period[row], segment[row], delay_bin(delay[row])] += 1


@entry(
    INTS2, FLOATS2, FLOATS2, INTS2, INTS2, INT, *[FLOATS_OUT] * 4, FLOATS3_OUT, FLOATS2_OUT,
    nogil=True,
)  # fmt: skip
def gather(
    index: NDArray[np.int64],
    trials: NDArray[np.float64],
    rewards: NDArray[np.float64],
    counts: NDArray[np.int64],
    learn: NDArray[np.int64],
    primary: int,
    n: NDArray[np.float64],
    rewarded: NDArray[np.float64],
    s1: NDArray[np.float64],
    s2: NDArray[np.float64],
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
) -> None:
    """Weighted sums of one segment's arms as float64, still in cell units. Adds into the outputs, bucket by bucket.

    index [buckets, arms] gives blocks (-1: none); trials and rewards [buckets, arms] are the weights of n and xx, and of
    the rest; n, rewarded, s1, s2 [arms]; xx [arms, d, d] (both triangles); xr [arms, d].
    """
    d = xr.shape[1]
    for b in range(index.shape[0]):
        for k in range(index.shape[1]):
            row, t, w = index[b, k], trials[b, k], rewards[b, k]
            if row < 0 or (t == 0.0 and w == 0.0):
                continue
            c, v = counts[row], learn[row]
            n[k] += t * (c[POLICY] + c[HISTORY])
            at = count_offset(primary, POLICY)
            rewarded[k] += w * (c[at] + c[count_offset(primary, HISTORY)])
            s1[k] += w * v[0]
            s2[k] += w * v[1]
            for j in range(d):
                at = column_offset(j)
                xr[k, j] += w * v[at]
                for i in range(j + 1):
                    xx[k, i, j] += t * v[at + 1 + i]
    for k in range(xr.shape[0]):
        for j in range(d):
            for i in range(j):
                xx[k, j, i] = xx[k, i, j]
