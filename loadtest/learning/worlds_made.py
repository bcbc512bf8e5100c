"""Made-up problems of marketing: rare conversions, order values, many arms, late rewards. A seed is another shop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loadtest.learning.world import (
    Floats,
    Ints,
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
from loadtest.learning.worlds_known import combinations

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


def rare(seed: int, rounds: int) -> World:
    """Conversions of 0.5 to 5 %."""
    return conversions("rare", seed, rounds, 6, -4.4, 0.7)


def no_context(seed: int, rounds: int) -> World:
    """Nothing is known of the visitors; rates of 2 to 12 %."""
    rng = generator("no-context", seed)
    expected = np.tile(rng.uniform(0.02, 0.12, 8), (rounds, 1))
    return World((), np.zeros((rounds, 0)), plain_arms(8), expected, coins(rng, expected))


def revenue(seed: int, rounds: int) -> World:
    """Orders of 2 to 15 % of the visitors with log-normal values (sigma 0.9); arms move both. Clipped at 500."""
    rng = generator("revenue", seed)
    features = categories(SIZES)
    context = visits(rng, rounds, features)
    x = one_hot(features, context)
    chance = sigmoid(-2.7 + logits(rng, x, 8, 0.2, 0.4, 0.4))
    middle = np.exp(3.6 + logits(rng, x, 8, 0.15, 0.15, 0.3))
    sigma = 0.9
    value = np.clip(middle * np.exp(sigma * rng.normal(size=middle.shape)), 0.01, 500.0)
    # E min(V, c) of a log-normal is near its mean here; the mean of the clipped value is taken over a fixed grid.
    z = np.quantile(np.random.default_rng(7).normal(size=200_001), (np.arange(400) + 0.5) / 400)
    mean = np.mean([np.clip(middle * np.exp(sigma * point), 0.01, 500.0) for point in z], axis=0)
    drawn = np.round(coins(rng, chance) * value, 2)
    return World(features, context, plain_arms(8), chance * mean, drawn, high=500.0, unit=0.01, typical=50.0)


def shared_arms(problem: str, seed: int, rounds: int, attributes: Mapping[str, int], base: float) -> World:
    """Arms are combinations of attributes, which make most of what an arm is worth, also by context."""
    rng = generator(problem, seed)
    arms = combinations(dict(attributes))
    features = categories((3, 4, 2))
    context = visits(rng, rounds, features)
    x = one_hot(features, context)
    truth = np.full((rounds, len(arms)), base) + rng.normal(0.0, 0.15, len(arms))
    for name, n in attributes.items():
        part = logits(rng, x, n, 0.0, 0.4, 0.6)
        truth += part[:, [int(arm[name].rpartition("-")[2]) for arm in arms]]
    expected = sigmoid(truth)
    return World(features, context, tuple(arms), expected, coins(rng, expected))


def arms_30(seed: int, rounds: int) -> World:
    """30 arms: 5 images x 3 tones x 2 offers."""
    return shared_arms("arms-30", seed, rounds, {"image": 5, "tone": 3, "offer": 2}, -3.2)


def arms_100(seed: int, rounds: int) -> World:
    """100 arms: 5 images x 5 tones x 4 offers."""
    return shared_arms("arms-100", seed, rounds, {"image": 5, "tone": 5, "offer": 4}, -3.2)


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


def gaussian(seed: int, rounds: int) -> World:
    """Linear in ten normal features with normal noise of deviation 1/2."""
    rng = generator("gaussian", seed)
    features = numbers(10, -4.0, 4.0)
    context = visits(rng, rounds, features)
    expected = context @ rng.normal(0.0, 0.25, (10, 8)) + rng.normal(0.0, 0.2, 8)
    noisy = np.clip(expected + rng.normal(0.0, 0.5, expected.shape), -5.0, 5.0)
    drawn = np.asarray(np.round(noisy, 4), dtype=np.float64)
    return World(features, context, plain_arms(8), expected, drawn, low=-5.0, high=5.0, unit=0.0001)


def late(problem: str, seed: int, rounds: int, delay: str) -> World:
    """Conversions of 2 to 20 % that come late: after a geometric or a log-normal number of decisions, under 1,750."""
    world = conversions(problem, seed, rounds, 6, -2.4, 0.8)
    rng = generator(f"{problem}/delay", seed)
    shape = world.drawn.shape
    waits = rng.geometric(1 / 100, shape) if delay == "geometric" else np.exp(rng.normal(np.log(300.0), 1.0, shape))
    rows: Ints = np.asarray(np.minimum(waits, 1_750), dtype=np.int64)
    return World(world.features, world.context, world.arms, world.expected, world.drawn, delay=rows)
