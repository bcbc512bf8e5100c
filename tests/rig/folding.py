"""Random rows of a log, and folding them."""

from __future__ import annotations

import random

import numpy as np

from bandits.periods import DAY
from bandits.rows import Rows, Rules, Totals
from bandits.state import State
from tests.oracles.state import Row

RULES = Rules(segments=3, arms=4, metrics=2, columns=5, primary=0, low=-20, high=50, horizon_ms=100_000)
NOW = 40 * DAY


def make_rows(seed: int, n: int, rules: Rules = RULES) -> list[Row]:
    """Random trials, exposures and rewards of every group; times over several horizons."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        time = rng.randrange(2_000_000)
        kind = rng.choice(["trial", "reward", "reward", "expose"])
        rows.append(
            Row(
                time, rng.randrange(rules.segments), rng.randrange(rules.arms), rng.choice([0, 0, 1, 8, 4, 128, 129]),
                rng.randrange(256), tuple(rng.randint(-4096, 4096) for _ in range(rules.columns - 1)),
                metric={"trial": None, "reward": rng.randrange(rules.metrics), "expose": -1}[kind],
                old=rng.choice([0, 7, -3]) if kind == "reward" else 0,
                new=rng.choice([0, 1, 49, 80, -30, 2**31 - 1]) if kind == "reward" else 0,
                exposes=1 if kind == "expose" else rng.choice([0, 0, 0, 0, 1, 1, -1]) if kind == "reward" else 0,
                entered=time + rng.randrange(200_000), propensity=rng.choice([1.0, 0.3, 0.01, 1e-6, rng.random(), 0.0]),
            )
        )  # fmt: skip
    return rows


def long_rows(seed: int, n: int, versions: int = 1) -> list[Row]:
    """Random trials, exposures and rewards of every group over 40 days."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        time, kind = rng.randrange(NOW), rng.choice(["trial", "reward", "expose"])
        rows.append(
            Row(
                time, rng.randrange(2), rng.randrange(3), rng.choice([0, 0, 1, 8, 4]), rng.randrange(256), (),
                metric={"trial": None, "reward": rng.randrange(2), "expose": -1}[kind],
                old=rng.choice([0, 7, -3]) if kind == "reward" else 0,
                new=rng.choice([0, 1, 49, -30, 2**31 - 1]) if kind == "reward" else 0,
                exposes=1 if kind == "expose" else rng.choice([0, 0, 1, -1]) if kind == "reward" else 0,
                entered=time + rng.randrange(DAY), propensity=rng.choice([1.0, 0.3, 1e-6, rng.random(), 0.0]),
                version=rng.randrange(versions),
            )
        )  # fmt: skip
    return rows


def columns(rows: list[Row], width: int) -> Rows:
    """Rows as the fold takes them."""

    def ints(values: list[int]) -> np.ndarray:
        return np.array(values, np.int64)

    x = np.array([r.x for r in rows], np.int16).reshape(len(rows), width)
    return Rows(
        ints([r.time for r in rows]), ints([r.segment for r in rows]), ints([r.arm for r in rows]),
        ints([r.flags for r in rows]), ints([r.bucket for r in rows]), x,
        np.array([r.propensity for r in rows], np.float64), ints([r.version for r in rows]),
    )  # fmt: skip


def columns_of(rules: Rules, rows: list[Row]) -> tuple[Rows, Rows, Totals]:
    """Trials, rewards and the totals of these, as the fold takes them."""
    width = rules.columns - 1
    trials = [r for r in rows if r.metric is None]
    rewards = [r for r in rows if r.metric is not None]
    triples = np.array([(r.metric, r.old, r.new, r.exposes, max(r.entered - r.time, 0)) for r in rewards], np.int64)
    return columns(trials, width), columns(rewards, width), Totals(*triples.reshape(-1, 5).T.copy())


def add(state: State, rows: list[Row]) -> None:
    """Fold rows."""
    trials, rewards, totals = columns_of(state.rules, rows)
    state.add_trials(trials)
    state.add_rewards(rewards, totals)
