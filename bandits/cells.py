"""Where each sum stands inside a block of cells. Every cell is an int64; appended metrics and columns append cells.

A block belongs to one (bucket, segment, arm) and has two vectors:
counts  [trials of each group] then, for each metric, for each group: rewarded, sum, squares high, squares low
learn   [sum q, sum q^2] then, for each feature column j: sum q x_j, sum x_0 x_j, ..., sum x_j x_j; q as in grid.py
Squares of totals are kept as two sums (the square's upper bits and its lower 32) so that neither can overflow.
"""

from __future__ import annotations

from bandits import layout
from bandits._jit import jit

POLICY, HELD, OUTSIDE, HISTORY = (
    0,
    1,
    2,
    3,
)  # groups of trials; OUTSIDE: served without a draw; POLICY and HISTORY teach
GROUPS = 4
PER_METRIC = 4 * GROUPS
REWARDED, TOTAL, SQUARE_HIGH, SQUARE_LOW = 0, 1, 2, 3

SUBJECT_BUCKETS = 256
DELAY_BINS = 32


def counts_size(metrics: int) -> int:
    """Cells of a block's counts."""
    return GROUPS + metrics * PER_METRIC


def learn_size(columns: int) -> int:
    """Cells of a block's learning sums, `columns` including the constant."""
    return 2 + columns * (columns + 3) // 2


@jit
def column_offset(column: int) -> int:
    """Where in `learn` the sums of feature column `column` begin."""
    return 2 + column * (column + 3) // 2


@jit
def count_offset(metric: int, group: int) -> int:
    """Where in `counts` the four sums of (metric, group) begin."""
    return GROUPS + metric * PER_METRIC + group * 4


@jit
def delay_bin(delay_ms: int) -> int:
    """Bin of a delay: bin k >= 1 holds [2^(k+3), 2^(k+4)) ms, bin 0 everything below 16 ms, bin 31 the rest."""
    k = 0
    rest = delay_ms >> 4
    while rest > 0 and k < DELAY_BINS - 1:
        rest >>= 1
        k += 1
    return k


@jit
def group_of(flags: int) -> int:
    """Group of a row's flags (bits of layout)."""
    if flags & layout.HOLDOUT:
        return HELD
    if flags & layout.UNDRAWN:
        return OUTSIDE
    if flags & layout.HISTORY:
        return HISTORY
    return POLICY
