"""Rates that are hard to tell apart: rare conversions, and visitors of whom nothing is known."""

from __future__ import annotations

import numpy as np

from loadtest.learning.problems.conversions import conversions, logits
from loadtest.learning.problems.world import (
    Floats,
    World,
    categories,
    coins,
    generator,
    one_hot,
    plain_arms,
    sigmoid,
    visits,
)


def rare(seed: int, rounds: int) -> World:
    """Conversions of 0.5 to 5 %."""
    return conversions("rare", seed, rounds, 6, -4.4, 0.7)


def no_context(seed: int, rounds: int) -> World:
    """Nothing is known of the visitors; rates of 2 to 12 %."""
    rng = generator("no-context", seed)
    expected = np.tile(rng.uniform(0.02, 0.12, 8), (rounds, 1))
    return World((), np.zeros((rounds, 0)), plain_arms(8), expected, coins(rng, expected))


def rarer(seed: int, rounds: int) -> World:
    """Conversions of 0.1 to 1.5 %, three categories, eight arms."""
    rng = generator("rarer", seed)
    features = categories((4, 3, 5))
    context = visits(rng, rounds, features)
    expected = sigmoid(-5.2 + logits(rng, one_hot(features, context), 8, 0.2, 0.35, 0.4))
    return World(features, context, plain_arms(8), expected, coins(rng, expected))


def _blind(problem: str, seed: int, rounds: int, rates: Floats) -> World:
    expected = np.tile(rates, (rounds, 1))
    drawn = coins(generator(f"{problem}/luck", seed), expected)
    return World((), np.zeros((rounds, 0)), plain_arms(len(rates)), expected, drawn)


def one_and_two(seed: int, rounds: int) -> World:
    """An arm of 1 % and one of 2 %."""
    return _blind("one-and-two", seed, rounds, generator("one-and-two", seed).permutation([0.01, 0.02]))


def twenty(seed: int, rounds: int) -> World:
    """Twenty arms of 1 to 6 %."""
    return _blind("twenty", seed, rounds, generator("twenty", seed).uniform(0.01, 0.06, 20))
