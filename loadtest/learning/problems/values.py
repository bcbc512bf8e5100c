"""Rewards that are amounts: order values, ranges that are declared too wide, and what may be negative."""

from __future__ import annotations

import functools
import math

import numpy as np

from loadtest.learning.problems.conversions import SIZES, logits
from loadtest.learning.problems.world import (
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


def gaussian(seed: int, rounds: int) -> World:
    """Linear in ten normal features with normal noise of deviation 1/2."""
    rng = generator("gaussian", seed)
    features = numbers(10, -4.0, 4.0)
    context = visits(rng, rounds, features)
    expected = context @ rng.normal(0.0, 0.25, (10, 8)) + rng.normal(0.0, 0.2, 8)
    noisy = np.clip(expected + rng.normal(0.0, 0.5, expected.shape), -5.0, 5.0)
    drawn = np.asarray(np.round(noisy, 4), dtype=np.float64)
    return World(features, context, plain_arms(8), expected, drawn, low=-5.0, high=5.0, unit=0.0001)


@functools.cache
def _grid(points: int) -> Floats:
    """The middles of so many equally likely parts of a standard normal."""
    phi = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in np.linspace(-8.0, 8.0, 16_001)])
    return np.interp((np.arange(points) + 0.5) / points, phi, np.linspace(-8.0, 8.0, 16_001))


def clipped_mean(middle: Floats, sigma: float, most: float) -> Floats:
    """E min(V, most) of log-normal V with this median (any shape) and deviation of logs; to about a thousandth."""
    at = np.linspace(float(np.log(middle.min())), float(np.log(middle.max())) + 1e-9, 400)
    mean = np.minimum(np.exp(at[:, None] + sigma * _grid(4_000)), most).mean(axis=1)
    return np.asarray(np.interp(np.log(middle), at, mean), dtype=np.float64)


def orders(
    rng: np.random.Generator, chance: Floats, middle: Floats, sigma: float, most: float
) -> tuple[Floats, Floats]:
    """(expected, drawn): a share of `chance` buys for a log-normal amount in cents, clipped to `most`."""
    value = np.clip(middle * np.exp(sigma * rng.normal(size=middle.shape)), 0.01, most)
    drawn = np.round(coins(rng, chance) * value, 2)
    return chance * clipped_mean(middle, sigma, most), drawn


def wide(seed: int, rounds: int) -> World:
    """Orders of about 20 where up to 5,000 was declared, to be safe."""
    rng = generator("wide", seed)
    features = categories((3, 4, 2))
    context = visits(rng, rounds, features)
    x = one_hot(features, context)
    chance = sigmoid(-2.5 + logits(rng, x, 6, 0.2, 0.4, 0.4))
    expected, drawn = orders(rng, chance, np.exp(3.0 + logits(rng, x, 6, 0.1, 0.1, 0.2)), 0.6, 5_000.0)
    return World(features, context, plain_arms(6), expected, drawn, high=5_000.0, unit=0.01, typical=20.0)


def baskets(seed: int, rounds: int) -> World:
    """Five arms that move the size of an order more than its chance; heavy tails (sigma 1.1)."""
    rng = generator("baskets", seed)
    features = (*categories((4, 3)), *numbers(1, -4.0, 4.0))
    context = visits(rng, rounds, features)
    x = one_hot(features, context)
    chance = sigmoid(-2.2 + logits(rng, x, 5, 0.2, 0.15, 0.15))
    middle = np.exp(np.clip(3.4 + logits(rng, x, 5, 0.15, 0.2, 0.35), 0.0, 5.5))
    expected, drawn = orders(rng, chance, middle, 1.1, 600.0)
    return World(features, context, plain_arms(5), expected, drawn, high=600.0, unit=0.01, typical=60.0)


def margin(seed: int, rounds: int) -> World:
    """Coupons: each arm costs something with every visitor and earns its margin with some."""
    rng = generator("margin", seed)
    features = categories((3, 5, 2))
    context = visits(rng, rounds, features)
    cost, gain = np.round(rng.uniform(0.2, 1.5, 6), 2), np.round(rng.uniform(10.0, 30.0, 6), 2)
    chance = sigmoid(-2.6 + logits(rng, one_hot(features, context), 6, 0.2, 0.4, 0.3))
    drawn = np.round(gain * coins(rng, chance) - cost, 2)
    return World(
        features, context, plain_arms(6), chance * gain - cost, drawn, low=-2.0, high=30.0, unit=0.01, typical=10.0
    )
