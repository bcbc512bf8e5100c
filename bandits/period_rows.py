"""Kernels that add rows to the pages of bandits/periods.py: each does what lies in its page, and says what is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, INT, INTS, INTS2_OUT, INTS_OUT, entry, jit
from bandits.cells import HELD, POLICY, REWARDED, SQUARE_HIGH, SQUARE_LOW, TOTAL, count_offset, group_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ARM_BITS = 16  # of a row's name, which is segment and arm
ODDS = 2.0**30  # propensities are whole numbers of 1 / ODDS
NAME, SHOWN, COUNTS = range(3)  # columns of a page of arms: its rows' names, sum of propensities, then counts


@entry(INTS2_OUT, INT, INT, *[INTS] * 4, FLOATS, *[INTS] * 4, INTS_OUT, nogil=True)
def add_arms(
    page: Ints,
    start: int,
    end: int,
    time: Ints,
    segment: Ints,
    arm: Ints,
    flags: Ints,
    odds: Floats,
    metric: Ints,
    old: Ints,
    new: Ints,
    trial: Ints,
    left: Ints,
) -> int:
    """Add those of n rows with `left` 1 that lie in [start, end) and have a place in the page of arms, and set that to 0.

    Returns how many are left. See fold_rewards for the rest.
    """
    rest = 0
    for row in range(time.shape[0]):
        if left[row] == 0:
            continue
        at = _place(page, segment[row] << ARM_BITS | arm[row]) if start <= time[row] < end else -1
        if at < 0:
            rest += 1
            continue
        left[row] = 0
        group, cells = group_of(flags[row]), page[at]
        cells[COUNTS + group] += trial[row]
        if group == POLICY and odds[row] > 0.0:
            cells[SHOWN] += trial[row] * np.int64(round(odds[row] * ODDS))
        if metric[row] >= 0:
            before, after = old[row], new[row]
            to = COUNTS + count_offset(metric[row], group)
            cells[to + REWARDED] += np.int64(after != 0) - np.int64(before != 0)
            cells[to + TOTAL] += after - before
            cells[to + SQUARE_HIGH] += (after * after >> 32) - (before * before >> 32)
            cells[to + SQUARE_LOW] += (after * after & 0xFFFFFFFF) - (before * before & 0xFFFFFFFF)
    return rest


@jit
def _place(page: Ints, name: int) -> int:
    """The row of this name, -1 where there is none."""
    low, high = 0, page.shape[0]
    while low < high:
        middle = (low + high) // 2
        if page[middle, NAME] < name:
            low = middle + 1
        else:
            high = middle
    return low if low < page.shape[0] and page[low, NAME] == name else -1


@entry(INTS2_OUT, *[INT] * 4, *[INTS] * 8, INTS_OUT, nogil=True)
def add_lift(
    page: Ints,
    first: int,
    until: int,
    start: int,
    end: int,
    time: Ints,
    version: Ints,
    bucket: Ints,
    flags: Ints,
    metric: Ints,
    old: Ints,
    new: Ints,
    trial: Ints,
    left: Ints,
) -> int:
    """Add those of n rows with `left` 1 whose version is in [first, until) and whose time in [start, end), and set that to 0.

    page [256, columns]: after the names pairs of policy and holdout, trials first, then a total a metric; without rows
    nothing is added. Returns how many rows of policy and holdout are left.
    """
    rest = 0
    for row in range(time.shape[0]):
        if left[row] == 0:
            continue
        group = group_of(flags[row])
        if group <= HELD and not (first <= version[row] < until and start <= time[row] < end):
            rest += 1
            continue
        left[row] = 0
        if group <= HELD and page.shape[0] > 0:
            page[bucket[row], 1 + group] += trial[row]
            if metric[row] >= 0:
                page[bucket[row], 1 + 2 * (1 + metric[row]) + group] += new[row] - old[row]
    return rest
