"""A belief about a mean, kept to what a mean can be: the normal belief, given that it lies inside the span.

A linear model knows no range: of a visitor who is far from the average it may believe a conversion rate below 0. Where the belief
lies well inside the span this changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bandits.posterior import Floats
from bandits.summary import Span

NODES = 512
DEPTH = 20.0  # how far the logarithm of the density falls before it counts as 0
TAIL = 0.025


class Inside(NamedTuple):
    """f8[n] each; low <= mean <= high, all inside the span; nan where nothing is believed."""

    mean: Floats
    low: Floats  # 95 % interval, equal tails
    high: Floats


def inside(mean: Floats, deviation: Floats, span: Span) -> Inside:
    """The truncated normals of beliefs f8[n]; where a deviation is 0 the mean alone, moved to the span's nearer end."""
    out = np.full((3, mean.size), np.nan)
    for k, (middle, wide) in enumerate(zip(mean.tolist(), deviation.tolist(), strict=True)):
        if not np.isnan(middle):
            out[:, k] = _one(middle, wide, span)
    return Inside(*np.clip(out, span.low, span.high))


def _one(mean: float, deviation: float, span: Span) -> tuple[float, float, float]:
    near = min(max(mean, span.low), span.high)
    if not deviation > 1e-12 * (span.high - span.low):
        return near, near, near
    # In deviations from the mode of what is left, so that a belief far outside loses no digits.
    mode = (near - mean) / deviation
    reach = 2.0 * DEPTH / (np.sqrt(mode * mode + 2.0 * DEPTH) + abs(mode))
    left = max((span.low - near) / deviation, -reach)
    right = min((span.high - near) / deviation, reach)
    edges = np.linspace(left, right, NODES + 1)
    t = 0.5 * (edges[1:] + edges[:-1])
    weight = np.exp(-0.5 * t * t - mode * t)
    below = np.concatenate([[0.0], np.cumsum(weight)]) / weight.sum()
    low, high = np.interp([TAIL, 1.0 - TAIL], below, edges)
    middle = float((weight * t).sum() / weight.sum())
    return near + deviation * middle, near + deviation * float(low), near + deviation * float(high)
