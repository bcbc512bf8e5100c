"""Conversions of a few per cent where something is known of the visitors. A seed is another shop."""

from __future__ import annotations

import numpy as np

from loadtest.learning.problems.world import (
    CATEGORY,
    FLAG,
    NUMBER,
    Feature,
    Floats,
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

SIZES = (4, 3, 5, 2)


def logits(rng: np.random.Generator, x: Floats, arms: int, shared: float, own: float, arm: float) -> Floats:
    """f8[T, K]: normal effects of these standard deviations: of a column for all arms, for one arm, of an arm."""
    effects = rng.normal(0.0, own, (x.shape[1] - 1, arms)) + rng.normal(0.0, shared, (x.shape[1] - 1, 1))
    return np.asarray(x[:, 1:] @ effects + rng.normal(0.0, arm, arms), dtype=np.float64)


def conversions(problem: str, seed: int, rounds: int, arms: int, base: float, spread: float) -> World:
    """One-hot features and a logistic truth; exp(base) is about the middle rate, spread its deviation in logits."""
    rng = generator(problem, seed)
    features = categories(SIZES)
    context = visits(rng, rounds, features)
    share = spread / 2.0
    truth = base + logits(rng, one_hot(features, context), arms, share / 2.0, share, spread / 2.0)
    expected = sigmoid(truth)
    return World(features, context, plain_arms(arms), expected, coins(rng, expected))


def marketing(seed: int, rounds: int) -> World:
    """Conversions of 1 to 15 %."""
    return conversions("marketing", seed, rounds, 8, -3.0, 0.8)


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


def site(seed: int, rounds: int) -> World:
    """Four categories and eight arms; a few values of a few categories matter much, most not at all."""
    rng = generator("site", seed)
    features = categories((5, 4, 3, 6))
    context = visits(rng, rounds, features)
    x = one_hot(features, context)
    effects = 0.3 * rng.standard_t(3, (x.shape[1], 8)) * (rng.random((x.shape[1], 8)) < 0.4)
    effects[0] = np.log(rng.uniform(0.02, 0.06)) + rng.normal(0.0, 0.3, 8)
    effects[1:] += rng.normal(0.0, 0.2, (x.shape[1] - 1, 1))
    expected = sigmoid(x @ np.clip(effects, -6.0, 2.0))
    return World(features, context, plain_arms(8), expected, coins(rng, expected))


def shop(seed: int, rounds: int) -> World:
    """A flag, two numbers and two categories; five arms of 4 to 15 %."""
    rng = generator("shop", seed)
    features = (Feature("member", FLAG), *categories((3, 4)), *numbers(2, -4.0, 4.0))
    context = visits(rng, rounds, features)
    truth = -2.4 + logits(rng, one_hot(features, context), 5, 0.2, 0.3, 0.25)
    expected = sigmoid(truth)
    return World(features, context, plain_arms(5), expected, coins(rng, expected))
