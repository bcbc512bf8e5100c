"""Conversions that come late, within 1,750 decisions."""

from __future__ import annotations

import numpy as np

from loadtest.learning.problems.conversions import conversions, logits
from loadtest.learning.problems.world import (
    Ints,
    World,
    categories,
    coins,
    generator,
    one_hot,
    plain_arms,
    sigmoid,
    visits,
)

MOST = 1_750


def late(problem: str, seed: int, rounds: int, delay: str) -> World:
    """Conversions of 2 to 20 % that come late: after a geometric or a log-normal number of decisions, under 1,750."""
    world = conversions(problem, seed, rounds, 6, -2.4, 0.8)
    rng = generator(f"{problem}/delay", seed)
    shape = world.drawn.shape
    waits = rng.geometric(1 / 100, shape) if delay == "geometric" else np.exp(rng.normal(np.log(300.0), 1.0, shape))
    rows: Ints = np.asarray(np.minimum(waits, MOST), dtype=np.int64)
    return World(world.features, world.context, world.arms, world.expected, world.drawn, delay=rows)


def mixed(seed: int, rounds: int) -> World:
    """Half of the conversions of 3 to 20 % come at once, the others 400 decisions late on average."""
    rng = generator("late-mixed", seed)
    features = categories((3, 4))
    context = visits(rng, rounds, features)
    expected = sigmoid(-2.3 + logits(rng, one_hot(features, context), 5, 0.2, 0.35, 0.3))
    drawn = coins(rng, expected)
    waits = rng.geometric(1 / 400, drawn.shape) * (rng.random(drawn.shape) < 0.5)
    rows: Ints = np.asarray(np.minimum(waits, MOST), dtype=np.int64)
    return World(features, context, plain_arms(5), expected, drawn, delay=rows)
