"""What is folded: rows of the log as columns, and the rules by which they are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.expansion import Design, plain
from bandits.layout import FINE_GRID

Ints = NDArray[np.int64]
NEVER = 2**62  # ms: no end


class Rules(NamedTuple):
    """What the fold needs to know of an experiment's configuration. Sizes never shrink."""

    segments: int
    arms: int
    metrics: int
    columns: int  # learning columns, the constant included
    primary: int
    low: int  # bounds of the primary metric, in its unit
    high: int
    horizon_ms: int
    products: Design | None = None  # None: no products, every learning column is a main one
    grid: int = FINE_GRID  # of what totals teach, or COARSE_GRID
    version: int = 0  # of the configuration
    applied_ms: int = 0  # when it came
    control: tuple[float, bool, int] = (0.0, False, 0)  # the holdout's share, whether it is uniform, the default arm
    windows: Ints | None = None  # i8[segments, arms, 2]: ms from and until which an arm may be drawn; None: always
    guarded: tuple[int, ...] = ()  # of each metric, bits dropped of its totals (bandits/guarded.py); (): no guardrails

    @property
    def design(self) -> Design:
        """What the columns are."""
        return self.products or plain(self.columns)

    def window(self) -> Ints:
        """`windows`, or that every arm may always be drawn."""
        if self.windows is not None:
            return self.windows
        out = np.zeros((self.segments, self.arms, 2), np.int64)
        out[..., 1] = NEVER
        return out

    @property
    def least(self) -> float:
        """What a trial earns at least, normalised: nothing, unless a reward may be negative: then no one knows."""
        return 0.0 if self.low >= 0 else -math.inf


class Rows(NamedTuple):
    """n rows as columns: int64 [n] each, x int16 [n, columns - 1]. Without `propensity` (f8) no policy drew them."""

    time: Ints
    segment: Ints
    arm: Ints
    flags: Ints
    bucket: Ints
    x: NDArray[np.int16]
    propensity: NDArray[np.float64] | None = None
    version: Ints | None = None  # of the configuration they were decided under

    def where(self, good: NDArray[np.bool_]) -> Rows:
        """The rows for which `good` is true."""
        return Rows(*(None if column is None else column[good] for column in self))  # type: ignore[arg-type]


class Totals(NamedTuple):
    """What reward rows have beside Rows: int64 [n] each; metric -1 for an exposure; delay in ms."""

    metric: Ints
    old: Ints
    new: Ints
    exposes: Ints
    delay: Ints

    def where(self, good: NDArray[np.bool_]) -> Totals:
        """Those of the rows for which `good` is true."""
        return Totals(*(column[good] for column in self))


class Weights(NamedTuple):
    """What each (time bucket, arm) counts: f8[B,K] its trials, f8[B,K] its rewards."""

    trials: NDArray[np.float64]
    rewards: NDArray[np.float64]
