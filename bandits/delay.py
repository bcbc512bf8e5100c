"""Which share of a bucket's rewards has come by now, learned from the delays of those that have.

Only rewards that are not older than their bucket are seen: delays are truncated on the right at the bucket's age. The
estimate of their distribution is that of Lynden-Bell (1971; Woodroofe 1985), the product over delays in falling
order of 1 - (rewards of this delay) / (rewards of at most this delay), each counted in the buckets alone that are old
enough to have seen it. A Kaplan-Meier estimate with time reversed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS_OUT, INT, INTS, INTS2, entry
from bandits.cells import DELAY_BINS
from bandits.posterior import Floats

ENOUGH = 10  # rewards below which nothing is known of delays, and every reward counts as come
LEAST = 0.02  # share that is taken as come at the least
RARE = 1e-4  # factor of a delay that nothing quicker was seen beside
POINTS = 8  # of time in a bucket, over which the share is averaged


@entry(INTS2, INTS, FLOATS_OUT, nogil=True)
def curve(delays: NDArray[np.int64], least: NDArray[np.int64], out: Floats) -> None:
    """Fill out (f8[33]) with the share of rewards that come within each edge of the delay bins (cells.delay_bin).

    delays i8[B,32] are rewards by bucket and delay; least i8[B] is the youngest age in a bucket, ms.
    """
    bins = delays.shape[1]
    log = 0.0
    for j in range(bins - 1, -1, -1):
        edge = np.int64(1) << (j + 4)
        here, within = 0, 0
        for b in range(delays.shape[0]):
            if least[b] >= edge:
                here += delays[b, j]
                for i in range(j + 1):
                    within += delays[b, i]
        out[j + 1] = math.exp(log)
        if here > 0:
            log += math.log(max(1.0 - here / within, RARE))
    out[0] = 0.0


@entry(INTS, INTS, INT, FLOATS, FLOATS_OUT, nogil=True)
def come(start: NDArray[np.int64], end: NDArray[np.int64], now: int, share: Floats, out: Floats) -> None:
    """Fill out (f8[B]) with the share of each bucket's rewards that has come by `now`, decisions spread evenly in it.

    start, end i8[B]: ms; share as `curve` fills it, straight between its edges.
    """
    bins = share.shape[0] - 1
    for b in range(start.shape[0]):
        last = min(end[b], now)
        span = max(last - start[b], 1)
        total = 0.0
        for i in range(POINTS):
            age = max(now - (start[b] + (i + 0.5) / POINTS * span), 0.0)
            j = 0
            while j < bins - 1 and age >= float(np.int64(1) << (j + 4)):
                j += 1
            low = float(np.int64(1) << (j + 3)) if j > 0 else 0.0
            high = float(np.int64(1) << (j + 4))
            part = min((age - low) / (high - low), 1.0)
            total += share[j] + part * (share[j + 1] - share[j])
        out[b] = min(max(total / POINTS, LEAST), 1.0)


def shares(delays: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64], now: int) -> Floats:
    """f8[B]: the share of each bucket's rewards that has come by `now`; 1 where too few rewards tell."""
    out = np.ones(len(start))
    if int(delays.sum()) >= ENOUGH:
        share = np.zeros(DELAY_BINS + 1)
        curve(np.ascontiguousarray(delays), now - end, share)
        come(start, end, now, share, out)
    return out
