"""Do the intervals of features and attributes hold the truth? Simulated experiments, looked at once, at their end.

Visitors have a value (some of them), and an amount that a tenth does not tell; arms have an attribute of two values and differ beyond
it. The truth of a feature is what the trials as they were shown would earn on average; that of an attribute is what arms with it
earn beyond those without, of all arms that might have been drawn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import contrast
from bandits.policy import POLICIES, Policy, probabilities
from bandits.posterior import Sums
from bandits.summary import ENOUGH, Span, seen, shapes

STEPS = 15
ABSENT = np.array([-2, -2, 3, -2])  # columns: constant, value, amount, whether the amount is missing
AMOUNTS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
CELLS = np.array(
    [[1.0, value, amount, 0.0] for value in (0, 1) for amount in AMOUNTS] + [[1.0, v, 0.0, 1.0] for v in (0, 1)]
)
ARM_SPREADS = (0.0, 0.15, 0.3)  # of the logarithm of what arms earn beyond their attribute

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """chance[g, k] of a reward in cell g of visitors; how many come from each; each arm's attribute and what it is worth."""

    chance: Floats
    mix: Floats
    visits: int
    attribute: Floats
    worth: float


def draw(rng: np.random.Generator, base: float) -> World:
    """2 to 12 arms, 30 to 2,000 rewards."""
    arms = int(rng.integers(2, 13))
    attribute = rng.permutation(np.arange(arms) % 2).astype(float)
    effect, spread, share = rng.normal(0, 0.3), rng.choice(ARM_SPREADS), rng.uniform(0.05, 0.5)
    own = base * np.exp(effect * attribute + rng.normal(0, spread, arms))
    moved = np.exp(CELLS @ np.array([0.0, rng.normal(0, 0.4), rng.normal(0, 0.2), rng.normal(0, 0.2)]))
    mix = np.where(CELLS[:, 1] > 0, share, 1 - share) * np.where(CELLS[:, 3] > 0, 0.1, 0.9 / len(AMOUNTS))
    mean = base * np.exp(spread**2 / 2) * float(mix @ moved)
    visits = int(10 ** rng.uniform(1.5, 3.3) / base)
    return World(np.minimum(np.outer(moved, own), 0.95), mix, visits, attribute, mean * (np.exp(effect) - 1))


def play(world: World, policy: Policy, rng: np.random.Generator) -> tuple[Sums, Sums]:
    """The sums at the end, and the same with what each trial earns on average in the place of what it earned."""
    arms = len(world.attribute)
    settings = {name: one.default for name, one in policy.settings.items()}
    made, true = (_empty(arms), _empty(arms))
    ends = np.unique(np.geomspace(max(world.visits / 100, 4), world.visits, STEPS).astype(int))
    for count in np.diff(ends, prepend=0):
        post, visits = policy.derive(made, settings, np.arange(arms)), rng.multinomial(count, world.mix)
        for g, x in enumerate(CELLS):
            shown = rng.multinomial(visits[g], probabilities(post, x, np.arange(arms)))
            _learn(made, x, shown, rng.binomial(shown, world.chance[g]).astype(float))
            _learn(true, x, shown, shown * world.chance[g])
    return made, true


def _empty(arms: int) -> Sums:
    d = CELLS.shape[1]
    n, rewarded, s1, s2 = np.zeros((4, arms))
    return Sums(n, rewarded, s1, s2, np.zeros((arms, d, d)), np.zeros((arms, d)))


def _learn(sums: Sums, x: Floats, shown: NDArray[np.int64], earned: Floats) -> None:
    for column, more in zip(sums[:4], (shown.astype(float), earned, earned, earned), strict=True):
        column[:] += more
    sums.xx[:] += shown[:, None, None] * np.outer(x, x)
    sums.xr[:] += earned[:, None] * x


def simulate(experiments: int, policy: str, seed: int, bases: tuple[float, ...]) -> dict[str, object]:
    """The row of so many experiments at each base rate in turn."""
    told: Counter[str] = Counter()
    held: Counter[str] = Counter()

    def count(kind: str, low: float, truth: float, high: float) -> None:
        if not np.isnan(low + truth):
            told[kind] += 1
            held[kind] += bool(low <= truth <= high)

    for number in range(experiments):
        rng = np.random.default_rng([seed, 2, number])
        world = draw(rng, bases[number % len(bases)])
        made, true = play(world, POLICIES[policy], rng)
        got, ones = contrast.features(made, np.ones(len(world.attribute)), ABSENT), np.ones(len(world.attribute))
        truth = contrast.features(true, ones, ABSENT).difference
        for name, j in (("value", 1), ("amount", 2)):
            count(name, got.low[j], truth[j], got.high[j])
        own = seen(made, made.xx[:, 0, :].sum(axis=0) / made.n.sum())
        known = own.n >= ENOUGH
        if min(world.attribute[known].sum(), (1 - world.attribute[known]).sum()) >= contrast.ARMS:
            a, b, _ = shapes(own, Span(0.0, 1.0, True))[known].T
            mean = a / (a + b)
            between = contrast.attribute(mean, mean * (1 - mean) / (a + b + 1), world.attribute[known])
            count("attribute", between.low, world.worth, between.high)
    coverage = {kind: held[kind] / told[kind] for kind in sorted(told)}
    return {"influences": dict(sorted(told.items())), "influence_interval_coverage": coverage}
