"""Simulated visitors with a known best arm: real contexts, and click rates fitted to real logs.

Everything is a function of (seed, visitor, arm): two policies that meet the same visitor see the same luck, in any
order, from any thread. docs/replay.md tells how the rates come about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from loadtest.replay.dataset import Dataset
from loadtest.replay.effects import Effects, Floats, Ints, Scales, choose, fit, rows_of

# What `choose` gave for the published logs, by their digest: it takes minutes. `--refit` does it again.
CHOSEN: Mapping[str, Mapping[str, Scales]] = MappingProxyType(
    {
        "f6e007313eaa9ee3041922e2f5e88d492d8aaa0364c3e20c90de229ef2a0ea91": {  # obd-men
            "logged": Scales(3.0, 0.1, 0.1),
            "shrunk": Scales(0.4, 0.1, 0.0),
        },
        "abd94e0c0c6ef4673a17128e95012779f8cc3327144ee31efb3de8b001091df5": {  # obd-women
            "logged": Scales(3.0, 0.0, 0.1),
            "shrunk": Scales(0.0, 0.0, 0.1),
        },
        "bdf81d3a6b864ea43fe1daa0bc88e300f4c805a97d6df1a90785fc51191dac7d": {  # obd-all
            "logged": Scales(3.0, 0.0, 0.4),
            "shrunk": Scales(0.0, 0.0, 0.4),
        },
    }
)


@dataclass(frozen=True)
class World:
    """Click rates of every logged context: `rates[n, items]`, one row a logged row, and how they were fitted."""

    data: Dataset
    rates: Floats
    scales: Scales
    effects: Effects

    def contexts(self, seed: int, visitors: Ints) -> Ints:
        """The logged row whose context each visitor has: all rows are equally likely."""
        return (uniforms(seed, visitors, 0) * len(self.rates)).astype(np.int64)

    def clicks(self, seed: int, visitors: Ints, arms: Ints) -> NDArray[np.bool_]:
        """Whether each visitor clicks on the arm it is shown; the same answer however often it is asked."""
        return np.asarray(uniforms(seed, visitors, arms + 1) < self.chances(seed, visitors, arms))

    def chances(self, seed: int, visitors: Ints, arms: Ints) -> Floats:
        """Probability of the click."""
        return np.asarray(self.rates[self.contexts(seed, visitors), arms], dtype=np.float64)


@dataclass(frozen=True)
class Implied:
    """What a world allows: mean click rates of the uniform choice, of the best single item, and of the oracle."""

    uniform: float
    single: float
    oracle: float
    best_item: int


def implied(rates: Floats) -> Implied:
    """Of contexts that are equally likely: `rates[n, items]`."""
    means = rates.mean(axis=0)
    return Implied(float(means.mean()), float(means.max()), float(rates.max(axis=1).mean()), int(means.argmax()))


def build(data: Dataset, kind: str = "logged", refit: bool = False, tick: Callable[[], None] = lambda: None) -> World:
    """Fit a world of a kind of effects.ITEM_GRIDS to the logs.

    The scales of published logs are on record; others are chosen here, `tick` a point.
    """
    rows = rows_of(data)
    scales = choose(rows, kind, tick) if refit or not known(data) else CHOSEN[data.digest][kind]
    effects = fit(rows, scales)
    return World(data, 1.0 / (1.0 + np.exp(-effects.logits(rows.columns))), scales, effects)


def known(data: Dataset) -> bool:
    """Whether the scales for these logs are on record."""
    return data.digest in CHOSEN


def uniforms(seed: int, visitors: Ints, stream: Ints | int) -> Floats:
    """A number in [0, 1) for each (seed, visitor, stream), by the finaliser of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state = _mix(np.atleast_1d(np.asarray(seed, dtype=np.uint64)))
        state = _mix(state ^ np.asarray(visitors, dtype=np.uint64))
        state = _mix(state ^ np.asarray(stream, dtype=np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
