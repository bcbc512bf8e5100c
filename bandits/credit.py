"""Credit for a conversion that several decisions led to, in whole units. It is a convention, not a cause.

The rules are those that web analytics knows as last touch, linear, position-based (40-20-40) and time decay.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

ENDS = 0.4  # of the value, for the first and for the last of three and more
_FINE = 1 << 32  # steps of a weight


class Credit(Enum):
    """How the value is shared among touches."""

    LAST = "last"
    LINEAR = "linear"
    POSITION = "position"
    TIME_DECAY = "time_decay"


def shares(total: int, times: NDArray[np.int64], rule: Credit, half_life_ms: int) -> NDArray[np.int64]:
    """i8[n], n >= 1: the parts of `total` (units, 0 <= total < 2^53) of touches at `times` (i8[n], ms, ascending); sums to total.

    By largest remainder (Hamilton's method): exact integers, so that every machine says the same; of equal remainders
    the later touch gets the unit. `half_life_ms` (> 0) is what halves a touch's weight under TIME_DECAY.
    """
    weights = [round(w * _FINE) for w in _weights(times, rule, half_life_ms).tolist()]
    whole = sum(weights)
    parts = [total * w // whole for w in weights]
    remainders = [(total * w % whole, place) for place, w in enumerate(weights)]
    for _, place in sorted(remainders, reverse=True)[: total - sum(parts)]:
        parts[place] += 1
    return np.array(parts, np.int64)


def _weights(times: NDArray[np.int64], rule: Credit, half_life_ms: int) -> NDArray[np.float64]:
    """f8[n]: in proportion to what each gets; the last one's is never 0."""
    n = len(times)
    if rule is Credit.LAST:
        return np.equal(np.arange(n), n - 1).astype(np.float64)
    if rule is Credit.TIME_DECAY:
        return np.array([2.0 ** (-age / half_life_ms) for age in (times[-1] - times).tolist()])
    if rule is Credit.LINEAR or n < 3:
        return np.ones(n)
    weights = np.full(n, (1.0 - 2.0 * ENDS) / (n - 2))
    weights[[0, -1]] = ENDS
    return weights
