"""Compile, or load from the cache, everything that a serving process calls, before it says that it is ready."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bandits.draw import draw, draw_many
from bandits.policy import POLICIES, decide, decide_batch, probabilities
from bandits.posterior import Sums
from bandits.state import Rows, Rules, State, Totals
from bandits.summary import summary

ARMS, COLUMNS, TRIALS = 3, 4, 6


def warm(clock: Callable[[], float] | None = None) -> float:
    """Call every kernel once with the types of serving, read-only arrays included.

    Returns what it took by `clock`, 0 without one: this package has no clock of its own.
    """
    started = clock() if clock else 0.0
    _choose(_fold())
    return clock() - started if clock else 0.0


def _fold() -> Sums:
    """A state that has seen some trials and rewards; rows come out of bytes, so their arrays are read-only."""
    state = State(Rules(1, ARMS, 1, COLUMNS, 0, 0, 1, 86_400_000))
    order = np.arange(TRIALS, dtype=np.int64)
    zero = np.zeros(TRIALS, np.int64)
    x = np.frombuffer(np.full((TRIALS, COLUMNS - 1), 2048, np.int16).tobytes(), np.int16).reshape(TRIALS, -1)
    rows = Rows(order, zero, order % ARMS, zero, zero, x)
    state.add_trials(rows)
    state.add_rewards(rows, Totals(zero, zero, order % 2, zero, zero))
    state.settle(1 << 42)
    return state.sums(0)


def _choose(sums: Sums) -> None:
    """Every policy, every way to choose."""
    arms = np.arange(ARMS, dtype=np.int64)
    cells = np.frombuffer(np.full(COLUMNS, 4096, np.int16).tobytes(), np.int16)
    rows = np.full((2, COLUMNS), 4096, np.int16)
    units = np.arange(2, dtype=np.uint64)
    out, chosen, propensity = np.empty(ARMS), np.empty(2, np.int64), np.empty(2)
    x = np.ones(COLUMNS)
    for policy in POLICIES.values():
        post = policy.derive(sums, {}, arms)
        pmf = probabilities(post, x, arms)
        pmf.flags.writeable = False
        decide(post.packed, cells, arms, 1, 2, out)
        decide_batch(post, rows, arms, units, 2, chosen, propensity)
        draw(pmf, arms, 1, 2)
        draw_many(pmf, arms, units, 2, chosen, propensity)
        summary(post, x, arms)
