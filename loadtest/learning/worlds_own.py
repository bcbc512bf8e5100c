"""Problems that nobody tuned for, with other shapes of truth than the published ones."""

from __future__ import annotations

import numpy as np

from loadtest.learning.world import (
    CATEGORY,
    FLAG,
    NUMBER,
    Feature,
    World,
    categories,
    coins,
    generator,
    numbers,
    one_hot,
    plain_arms,
    sigmoid,
    visits,
)
from loadtest.learning.worlds_made import logits


def hills(seed: int, rounds: int) -> World:
    """Numbers only; each arm is best around a point of its own, so that its worth is quadratic in the features."""
    rng = generator("hills", seed)
    features = numbers(3, -3.0, 3.0)
    context = visits(rng, rounds, features)
    peaks = rng.normal(0.0, 1.0, (6, 3))
    distance = ((context[:, None, :] - peaks) ** 2).sum(axis=2)
    expected = 0.05 + 0.6 * np.exp(-0.4 * distance) + rng.uniform(0.0, 0.05, 6)
    return World(features, context, plain_arms(6), expected, coins(rng, expected))


def opposed(seed: int, rounds: int) -> World:
    """New and returning visitors want opposite things, and the groups are of uneven size."""
    rng = generator("opposed", seed)
    features = (
        Feature("returning", FLAG),
        Feature("device", CATEGORY, ("phone", "tablet", "desk")),
        Feature("pages", NUMBER, (), -4.0, 4.0),
    )
    context = visits(rng, rounds, features)
    context[:, 0] = rng.random(rounds) < 0.25
    side = 2.0 * context[:, :1] - 1.0
    truth = (
        -2.2 + 0.8 * side * rng.normal(size=8) + logits(rng, one_hot(features[1:], context[:, 1:]), 8, 0.2, 0.1, 0.1)
    )
    expected = sigmoid(truth)
    return World(features, context, plain_arms(8), expected, coins(rng, expected))


def irrelevant(seed: int, rounds: int) -> World:
    """Nine features are known, two of them matter."""
    rng = generator("irrelevant", seed)
    features = (*categories((3, 4, 5, 4, 3, 6)), *numbers(3, -4.0, 4.0))
    context = visits(rng, rounds, features)
    matter = [1, 7]
    x = one_hot([features[i] for i in matter], context[:, matter])
    expected = sigmoid(-2.0 + logits(rng, x, 6, 0.2, 0.8, 0.3))
    return World(features, context, plain_arms(6), expected, coins(rng, expected))


def alike(seed: int, rounds: int) -> World:
    """Twelve arms, all within a few per cent of one another but one that is a third better, for half of the visitors."""
    rng = generator("alike", seed)
    features = categories((2, 6))
    context = visits(rng, rounds, features)
    expected = np.tile(0.10 * np.exp(rng.normal(0.0, 0.05, 12)), (rounds, 1))
    expected[context[:, 1] < 3, int(rng.integers(0, 12))] *= 1.35
    return World(features, context, plain_arms(12), expected, coins(rng, expected))
