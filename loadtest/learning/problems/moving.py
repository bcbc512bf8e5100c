"""Worlds that do not stand still: seasons and weekends, arms that rise, days whose rewards are lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loadtest.learning.problems.conversions import logits
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

A_DAY = 1_500  # decisions
STEP_MS = 86_400_000 // A_DAY
WINDOW = "1d"


def days(rounds: int) -> Floats:
    """When each visitor comes, in days."""
    return np.arange(rounds) / A_DAY


def _site(problem: str, seed: int, rounds: int, arms: int, level: Floats) -> World:
    """Conversions of 2 to 15 %, all of them times a common level f8[T]."""
    rng = generator(problem, seed)
    features = categories((3, 4))
    context = visits(rng, rounds, features)
    truth = sigmoid(-2.7 + logits(rng, one_hot(features, context), arms, 0.2, 0.3, 0.3))
    expected = truth * level[:, None]
    return _paced(World(features, context, plain_arms(arms), expected, coins(rng, expected)))


def _paced(world: World) -> World:
    return replace(world, step_ms=STEP_MS, window=WINDOW)


def weekends(seed: int, rounds: int) -> World:
    """Every weekend half as many buy."""
    return _site("weekends", seed, rounds, 6, np.where(days(rounds) % 7.0 < 5.0, 1.0, 0.5))


def season(seed: int, rounds: int) -> World:
    """Demand swings slowly between half and one and a half of its mean."""
    phase = generator("season/phase", seed).uniform(0.0, 2.0 * np.pi)
    return _site("season", seed, rounds, 6, 1.0 + 0.5 * np.sin(2.0 * np.pi * days(rounds) / 10.0 + phase))


def swings(seed: int, rounds: int) -> World:
    """Five arms that go up and down slowly, each in its own time."""
    rng = generator("swings", seed)
    turns = 2.0 * np.pi * (days(rounds)[:, None] / rng.uniform(8.0, 20.0, 5) + rng.random(5))
    expected = sigmoid(-2.4 + rng.normal(0.0, 0.2, 5) + 0.5 * np.sin(turns))
    return _paced(World((), np.zeros((rounds, 0)), plain_arms(5), expected, coins(rng, expected)))


def rise(seed: int, rounds: int) -> World:
    """After a third of the time a losing arm of 6 % rises to 15 %, above the leader's 10 %."""
    rng = generator("rise", seed)
    rates = rng.permutation([0.10, 0.085, 0.075, 0.06])
    expected = np.tile(rates, (rounds, 1))
    expected[rounds // 3 :, int(rates.argmin())] = 0.15
    return _paced(World((), np.zeros((rounds, 0)), plain_arms(4), expected, coins(rng, expected)))


def lost_day(seed: int, rounds: int) -> World:
    """On the sixth day no reward is reported: people buy, but the tag is broken."""
    return _lost(_site("lost-day", seed, rounds, 6, np.ones(rounds)), (days(rounds) >= 5.0) & (days(rounds) < 6.0))


def lost_hours(seed: int, rounds: int) -> World:
    """Every third day the rewards of eight hours are lost."""
    now = days(rounds)
    return _lost(_site("lost-hours", seed, rounds, 6, np.ones(rounds)), (now % 3.0 >= 2.4) & (now % 3.0 < 2.4 + 8 / 24))


def _lost(world: World, rows: NDArray[np.bool_]) -> World:
    return replace(world, drawn=np.where(rows[:, None], 0.0, world.drawn))
