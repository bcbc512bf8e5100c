"""How soon rewards come in, for people: the delay curve with its spread, and the ages by which a share of them is in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.cells import DELAY_BINS
from bandits.delay import ENOUGH, curve
from bandits.posterior import Floats

DEVIATIONS = 1.959964  # of a 95 % interval
LEAST = 0.001  # share below which a curve has not begun


class Arrival(NamedTuple):
    """Share of all rewards that come within an age, of those that come at all as far as the oldest decisions tell."""

    age_ms: Floats  # f8[n], ascending
    share: Floats  # f8[n], from near 0 to 1
    low: Floats  # f8[n], 95 % interval
    high: Floats  # f8[n]
    rewards: int

    def age(self, share: float) -> float:
        """ms by which this share (0 to 1) is in; between the curve's points, straight on a logarithmic scale."""
        return float(np.exp2(np.interp(share, self.share, np.log2(np.maximum(self.age_ms, 1.0)))))


def arrival(delays: NDArray[np.int64], end: NDArray[np.int64], now: int) -> Arrival | None:
    """The curve of rewards by time bucket and delay (i8[B,32]) of buckets that end at `end` (i8[B], ms); None while too few
    are of decisions that all had the time.
    """
    share, least = np.zeros(DELAY_BINS + 1), np.ascontiguousarray(now - end)
    edges = np.array([0, *(1 << (j + 4) for j in range(DELAY_BINS))])
    rewards = int(delays[least[:, None] >= edges[1:]].sum())
    if rewards < ENOUGH:
        return None
    curve(np.ascontiguousarray(delays), least, share)
    spread = np.sqrt(_variance(delays, least))
    with np.errstate(divide="ignore", invalid="ignore"):
        tilt = np.exp(DEVIATIONS * spread / np.maximum(-np.log(share), 1e-9))  # of log(-log): it stays in 0 to 1
        low, high = (np.where(share < 1.0, share**power, 1.0) for power in (tilt, 1.0 / tilt))
    begins = max(int(np.argmax(share >= LEAST)) - 1, 0)
    ends = int(np.argmax(share >= 1.0 - 1e-9)) + 1
    shown = slice(begins, ends)
    return Arrival(edges[shown].astype(np.float64), share[shown], low[shown], high[shown], rewards)


def _variance(delays: NDArray[np.int64], least: NDArray[np.int64]) -> Floats:
    """f8[33]: of the curve's logarithm at each edge, as Greenwood's of a Kaplan-Meier estimate."""
    out, total = np.zeros(DELAY_BINS + 1), 0.0
    for j in range(DELAY_BINS - 1, -1, -1):
        out[j + 1] = total
        old = delays[least >= 1 << (j + 4)]
        here, within = int(old[:, j].sum()), int(old[:, : j + 1].sum())
        if here:
            total += here / (within * max(within - here, 0.5))
    out[0] = total
    return out
