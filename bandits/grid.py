"""What a total teaches: an integer q, small enough that int64 sums of it never overflow, fine enough to lose nothing.

A total is a whole number of `reward.unit`s, and with few exceptions it is q itself. Summed are q, q x and q^2. A cell
is promised to hold 2^31 rewarded trials of one arm, the same as the counts hold; so a trial may add at most 2^32:

    q = total / 2^drop        |q| <= 2^28: drop is 0 up to 2^28 units, at most 3 (a total has at most 31 bits)
    q x / 2^product           |x| < 2^15 with products of features: 16 bits of q are left as they are, then bits go
    q^2 / 2^square            31 bits are left of it

each rounded, and undone by a change of the total to the last bit, as a row adds f(new) - f(old). What is rounded away of
q x is 2^-16 of the largest reward times 2^-12 of a feature; of q^2 the square of 2^-15.5 of the largest reward. A metric
of 0 and 1 has q = 0 and 1, where it once was 0 and 32767, and loses nothing at all.

Experiments made before this grid keep the coarse one, with steps of 1/32767 of the largest reward: sums of the two cannot
be added, and their logs are not whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit
from bandits.layout import COARSE_GRID

STEPS = 32767  # of the coarse grid
MOST_BITS = 28  # of q
PRODUCT_BITS = 16  # of q, in sums with features
SQUARE_BITS = 31  # of q^2
LOW, HIGH, COARSE_STEPS, DROP, PRODUCT, SQUARE = range(6)

Floats = NDArray[np.float64]


class Grid(NamedTuple):
    """The numbers above for a metric; `packed` (i8[6]) is what kernels take, `one` the q of the largest reward."""

    packed: NDArray[np.int64]
    one: float

    def natural(self, s1: Floats, s2: Floats, xr: Floats, rewarded: Floats) -> tuple[Floats, Floats, Floats]:
        """Sums of q, q^2 (f8[K]) and q x (f8[K,d]) as cells have them, in units of the largest reward."""
        product, square = (float(2 ** int(self.packed[at])) for at in (PRODUCT, SQUARE))
        first, second = s1 / self.one, s2 * square / self.one**2
        # Squares of the smallest rewards may have been rounded to nothing: they are no less than those of their mean.
        least = np.divide(first * first, rewarded, out=np.zeros_like(first), where=rewarded > 0.0)
        return first, np.maximum(second, least), xr * product / self.one


def grid_of(low: int, high: int, version: int) -> Grid:
    """The grid of a metric whose totals teach within [low, high] units."""
    largest = max(abs(low), abs(high))
    if version == COARSE_GRID:
        return Grid(np.array([low, high, STEPS, 0, 0, 0], np.int64), float(STEPS))
    drop = max(largest.bit_length() - MOST_BITS, 0)
    bits = largest.bit_length() - drop
    shifts = (drop, max(bits - PRODUCT_BITS, 0), max(2 * bits - SQUARE_BITS, 0))
    return Grid(np.array([low, high, 0, *shifts], np.int64), largest / 2**drop)


@jit
def taught(total: int, grid: NDArray[np.int64]) -> int:
    """The q of a total: clipped, then rounded; a total of exactly 0 is no reward and stays 0, even where low > 0."""
    if total == 0:
        return 0
    clipped = min(max(total, grid[LOW]), grid[HIGH])
    if grid[COARSE_STEPS] == 0:
        return shifted(clipped, grid[DROP])
    scale = max(abs(grid[LOW]), abs(grid[HIGH]))
    doubled = 2 * clipped * grid[COARSE_STEPS]
    q = int((doubled + scale) // (2 * scale))
    if (doubled + scale) % (2 * scale) == 0 and q % 2 != 0:  # half to even
        q -= 1
    return q


@jit
def shifted(value: int, bits: int) -> int:
    """value / 2^bits, rounded half to even: small rewards beside features are halves often, and would add up."""
    if bits == 0:
        return value
    moved = value + (1 << bits - 1)
    return (moved >> bits) - int(moved & (1 << bits + 1) - 1 == 1 << bits)
