"""Worlds drawn from a distribution, so that nobody has looked at any of them: a number says which one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loadtest.learning.problems.values import orders
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

COINS, REVENUE, NORMAL, SIGNED = "0/1", "revenue", "normal", "signed"


@dataclass(frozen=True)
class Shape:
    """What is drawn of a world before its visitors are.

    base: rate of the middle arm. arm, shared, own, pair: deviations, in logits (of a NORMAL world in its own units), of
    arms, of what a column does to all arms and to one, and of pairs of features. sparse: share of columns that matter.
    """

    rounds: int
    arms: int
    sizes: tuple[int, ...]  # values of each category
    numbers: int
    kind: str
    base: float
    arm: float
    shared: float
    own: float
    pair: float
    sparse: float

    @property
    def what(self) -> str:
        """For people."""
        known = f"{len(self.sizes)} categories, {self.numbers} numbers" if self.sizes or self.numbers else "no context"
        return f"{self.kind}, {self.arms} arms, {known}, base {self.base:.1%}, {self.rounds:,} decisions"


def shape(seed: int) -> Shape:
    """Sizes are even on a logarithmic scale: 2 to 80 arms, 1,000 to 60,000 decisions, rates of .1 to 30 %."""
    rng = generator("drawn", seed)
    blind = rng.random() < 0.15
    return Shape(
        rounds=int(_log_even(rng, 1_000, 60_000)),
        arms=int(_log_even(rng, 2, 81)),
        sizes=() if blind else tuple(rng.integers(2, 9, rng.integers(0, 4)).tolist()),
        numbers=0 if blind else int(rng.integers(0, 7)),
        kind=str(rng.choice([COINS, REVENUE, NORMAL, SIGNED], p=[0.6, 0.15, 0.15, 0.1])),
        base=_log_even(rng, 0.001, 0.3),
        arm=rng.uniform(0.1, 0.8),
        shared=rng.uniform(0.0, 0.5),
        own=rng.uniform(0.0, 0.8),
        pair=rng.uniform(0.1, 0.6) if rng.random() < 0.4 else 0.0,
        sparse=rng.uniform(0.2, 1.0),
    )


def world(seed: int) -> World:
    """The world of this number, laid out."""
    drawn = shape(seed)
    rng = generator("drawn/luck", seed)
    features = (*categories(drawn.sizes), *numbers(drawn.numbers, -4.0, 4.0))
    context = visits(rng, drawn.rounds, features)
    truth = _effects(rng, drawn, one_hot(features, context))
    if drawn.kind == NORMAL:
        noise = rng.uniform(0.3, 2.0)
        noisy = np.clip(truth + rng.normal(0.0, noise, truth.shape), -10.0, 10.0)
        paid = np.asarray(np.round(noisy, 3), dtype=np.float64)
        return World(features, context, plain_arms(drawn.arms), truth, paid, low=-10.0, high=10.0, unit=0.001)
    chance = sigmoid(math.log(drawn.base / (1.0 - drawn.base)) + truth)
    if drawn.kind == COINS:
        return World(features, context, plain_arms(drawn.arms), chance, coins(rng, chance))
    if drawn.kind == SIGNED:
        cost = np.round(rng.uniform(0.0, 2.0, drawn.arms) * drawn.base * 10.0, 2)
        paid = np.round(10.0 * coins(rng, chance) - cost, 2)
        low, high, unit = -20.0, 20.0, 0.01
        return World(features, context, plain_arms(drawn.arms), 10.0 * chance - cost, paid, low, high, unit, 10.0)
    middle = np.broadcast_to(30.0 * np.exp(rng.normal(0.0, 0.3, drawn.arms)), chance.shape)
    most = float(np.round(_log_even(rng, 200.0, 5_000.0)))
    expected, paid = orders(rng, chance, middle, rng.uniform(0.4, 1.2), most)
    return World(features, context, plain_arms(drawn.arms), expected, paid, high=most, unit=0.01, typical=40.0)


def _effects(rng: np.random.Generator, drawn: Shape, x: Floats) -> Floats:
    """f8[T, K]: what arms and columns, and some pairs of columns, add up to."""
    width, arms = x.shape[1], drawn.arms
    matter = rng.random((width, 1)) < drawn.sparse
    effects = matter * (rng.normal(0.0, drawn.own, (width, arms)) + rng.normal(0.0, drawn.shared, (width, 1)))
    effects[0] = rng.normal(0.0, drawn.arm, arms)
    truth = np.asarray(x @ effects, dtype=np.float64)
    if drawn.pair and width > 2:
        for _ in range(width):
            i, j = rng.choice(np.arange(1, width), 2, replace=False)
            truth += (x[:, i] * x[:, j])[:, None] * rng.normal(0.0, drawn.pair, arms)
    return np.clip(truth, -4.0, 4.0)


def _log_even(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
