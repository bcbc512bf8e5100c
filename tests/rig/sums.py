"""Rows of the oracle, folded by the state."""

from __future__ import annotations

import numpy as np

from bandits.state import Rows, State, Totals
from tests.oracles.state import Row


def _columns(rows: list[Row], width: int) -> Rows:
    def ints(values: list[int]) -> np.ndarray:
        return np.array(values, np.int64)

    x = np.array([r.x for r in rows], np.int16).reshape(len(rows), width)
    return Rows(
        ints([r.time for r in rows]), ints([r.segment for r in rows]), ints([r.arm for r in rows]),
        ints([r.flags for r in rows]), ints([r.bucket for r in rows]), x,
        np.array([r.propensity for r in rows], np.float64), ints([r.version for r in rows]),
    )  # fmt: skip


def add(state: State, rows: list[Row]) -> None:
    """Fold rows."""
    width = state.rules.columns - 1
    trials = [r for r in rows if r.metric is None]
    rewards = [r for r in rows if r.metric is not None]
    state.add_trials(_columns(trials, width))
    triples = np.array([(r.metric, r.old, r.new, r.exposes, max(r.entered - r.time, 0)) for r in rewards], np.int64)
    state.add_rewards(_columns(rewards, width), Totals(*triples.reshape(-1, 5).T.copy()))
