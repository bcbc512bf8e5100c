"""Truths that no linear model has: pairs of features decide, or an arm is best around a point."""

from __future__ import annotations

import numpy as np

from loadtest.learning.problems.conversions import logits
from loadtest.learning.problems.world import (
    FLAG,
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


def pairs(seed: int, rounds: int) -> World:
    """What an arm is worth depends on pairs of features much more than on any one of them."""
    rng = generator("pairs", seed)
    features = categories((2, 3, 3, 2))
    context = visits(rng, rounds, features)
    truth = -2.8 + logits(rng, one_hot(features, context), 8, 0.1, 0.2, 0.3)
    for i in range(len(features)):
        for j in range(i):
            codes = (context[:, i] * features[j].width + context[:, j]).astype(np.int64)
            truth += rng.normal(0.0, 0.5, (features[i].width * features[j].width, 8))[codes]
    expected = sigmoid(truth)
    return World(features, context, plain_arms(8), expected, coins(rng, expected))


def hills(seed: int, rounds: int) -> World:
    """Numbers only; each arm is best around a point of its own, so that its worth is quadratic in the features."""
    rng = generator("hills", seed)
    features = numbers(3, -3.0, 3.0)
    context = visits(rng, rounds, features)
    peaks = rng.normal(0.0, 1.0, (6, 3))
    distance = ((context[:, None, :] - peaks) ** 2).sum(axis=2)
    expected = 0.05 + 0.6 * np.exp(-0.4 * distance) + rng.uniform(0.0, 0.05, 6)
    return World(features, context, plain_arms(6), expected, coins(rng, expected))


def signs(seed: int, rounds: int) -> World:
    """What one number does to an arm depends on another one and on a flag."""
    rng = generator("signs", seed)
    features = (Feature("weekday", FLAG), *numbers(3, -3.0, 3.0))
    context = visits(rng, rounds, features)
    side = 2.0 * context[:, :1] - 1.0
    products = context[:, 1:2] * context[:, 2:3] * rng.normal(0.0, 0.6, 6) + side * context[:, 3:] * rng.normal(
        0.0, 0.6, 6
    )
    expected = sigmoid(-1.8 + products + rng.normal(0.0, 0.2, 6))
    return World(features, context, plain_arms(6), expected, coins(rng, expected))


def prices(seed: int, rounds: int) -> World:
    """Seven prices; who would pay how much follows from two numbers and a category, so each price has its visitors."""
    rng = generator("prices", seed)
    features = (*numbers(2, -3.0, 3.0), *categories((3,)))
    context = visits(rng, rounds, features)
    worth = 9.0 + context[:, :2] @ rng.uniform(1.0, 2.5, 2) + rng.normal(0.0, 1.0, 3)[context[:, 2].astype(np.int64)]
    price = np.array([4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 19.0])
    chance = 0.6 * sigmoid(0.8 * (worth[:, None] - price))
    drawn = coins(rng, chance) * price
    return World(features, context, plain_arms(7), chance * price, drawn, high=20.0, typical=10.0)
