"""Many arms: they share attributes, or are worth different things to two groups of visitors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from loadtest.learning.problems.conversions import logits
from loadtest.learning.problems.world import (
    FLAG,
    Feature,
    World,
    categories,
    coins,
    generator,
    one_hot,
    plain_arms,
    sigmoid,
    visits,
)


def combinations(attributes: dict[str, int]) -> list[dict[str, str]]:
    """Every combination of attribute values, as arms that share them."""
    names = list(attributes)
    values = [[f"{name}-{i}" for i in range(n)] for name, n in attributes.items()]
    return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]


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


def groups_60(seed: int, rounds: int) -> World:
    """60 arms without attributes; members and guests want other ones."""
    rng = generator("groups-60", seed)
    features = (Feature("member", FLAG), *categories((4,)))
    context = visits(rng, rounds, features)
    worth = rng.normal(-2.9, 0.6, (2, 60))
    expected = sigmoid(
        worth[context[:, 0].astype(np.int64)] + 0.2 * rng.normal(size=4)[context[:, 1].astype(int), None]
    )
    return World(features, context, plain_arms(60), expected, coins(rng, expected))
