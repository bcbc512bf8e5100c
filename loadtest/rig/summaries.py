"""What a sample comes to: its median, a quantile, its growth an hour."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import numpy as np


def median(values: Iterable[float]) -> float:
    """The median; nan of nothing."""
    given = list(values)
    return statistics.median(given) if given else float("nan")


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which a share q lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def slope(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Growth an hour: the median of the slopes between all pairs (Theil 1950, Sen 1968), which single jumps do not move."""
    t, v = np.asarray(seconds), np.asarray(values)
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((v[j] - v[i]) / (t[j] - t[i])) * 3600.0) if len(t) > 1 else 0.0
