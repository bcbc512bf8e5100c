"""Problems that others published: OBP's synthetic data, the Vowpal Wabbit news tutorial, Open Bandit, classification."""

from __future__ import annotations

import functools
import importlib

import numpy as np

from loadtest.learning.problems.world import (
    CATEGORY,
    NUMBER,
    Feature,
    Floats,
    Ints,
    World,
    coins,
    generator,
    numbers,
    plain_arms,
    sigmoid,
)
from loadtest.replay import world as visitors
from loadtest.replay.dataset import load

OBP_STATE = 12345


def obp(seed: int, rounds: int) -> World:
    """SyntheticBanditDataset(n_actions=10, dim_context=5, logistic_reward_function, random_state=12345).

    Saito et al., "Open Bandit Dataset and Pipeline", NeurIPS 2021. logit q(x, a) = x . coef_a + action_coef_a, all
    coefficients uniform on [0, 1), x standard normal. Seed 1 has the published contexts, others fresh ones.
    """
    rng = generator("obp", seed)
    draws = np.random.RandomState(OBP_STATE)
    coef, action = draws.uniform(size=(10, 5)), draws.uniform(size=10)
    context = np.random.RandomState(OBP_STATE if seed == 1 else [OBP_STATE, seed]).normal(size=(rounds, 5))
    expected = sigmoid(context @ coef.T + action)
    return World(numbers(5, -4.0, 4.0), context, plain_arms(10), expected, coins(rng, expected))


def obp_other(seed: int, rounds: int) -> World:
    """The same with other coefficients, which may be negative, and six arms."""
    rng = generator("obp-other", seed)
    context = rng.normal(size=(rounds, 5))
    expected = sigmoid(context @ rng.uniform(-1.0, 1.0, (5, 6)) + rng.uniform(-1.0, 0.0, 6))
    return World(numbers(5, -6.0, 6.0), context, plain_arms(6), expected, coins(rng, expected))


ARTICLES = ("politics", "sports", "music", "food", "finance", "health", "camping")
# What Tom likes in the morning and in the afternoon, then Anna.
LIKES = ("politics", "music", "sports", "politics")
SCENARIO_2 = ("politics", "sports", "sports", "sports")
EXCHANGED = ("sports", "politics", "politics", "music")


def news(seed: int, rounds: int, after: tuple[str, ...] | None = None) -> World:
    """The content personalization tutorial of Vowpal Wabbit: two users, two times of day, a click is certain or not.

    `after`: what is liked in the second half of the rounds.
    """
    features = (
        Feature("user", CATEGORY, ("Tom", "Anna")),
        Feature("time_of_day", CATEGORY, ("morning", "afternoon")),
    )
    context = generator("news", seed).integers(0, 2, (rounds, 2))
    who = context[:, 0] * 2 + context[:, 1]
    tables = [np.array([ARTICLES.index(a) for a in likes]) for likes in (LIKES, after or LIKES)]
    liked = np.where(np.arange(rounds) < (rounds + 1) // 2, tables[0][who], tables[1][who])
    expected = (liked[:, None] == np.arange(len(ARTICLES))).astype(np.float64)
    return World(features, context.astype(np.float64), plain_arms(len(ARTICLES)), expected, expected)


def crowd(seed: int, rounds: int) -> World:
    """The tutorial grown: four users, three times of day, nine articles, and nobody clicks for certain."""
    rng = generator("crowd", seed)
    features = (
        Feature("user", CATEGORY, ("Tom", "Anna", "Ada", "Luis")),
        Feature("time_of_day", CATEGORY, ("morning", "afternoon", "night")),
    )
    context = np.stack([rng.integers(0, 4, rounds), rng.integers(0, 3, rounds)], axis=1)
    liked = rng.integers(0, 9, (4, 3))[context[:, 0], context[:, 1]]
    expected = np.where(liked[:, None] == np.arange(9), 0.9, 0.05)
    return World(features, context.astype(np.float64), plain_arms(9), expected, coins(rng, expected))


@functools.cache
def _fitted(name: str) -> visitors.World:
    return visitors.build(load(name))


def open_bandit(name: str, seed: int, rounds: int) -> World:
    """Real contexts of ZOZOTOWN's visitors and click rates fitted to its logs (docs/replay.md). DataError offline."""
    fitted = _fitted(name)
    rng = generator(name, seed)
    row = rng.integers(0, len(fitted.rates), rounds)
    features = tuple(Feature(f.name, CATEGORY, f.values) for f in fitted.data.features)
    expected = fitted.rates[row]
    context = fitted.data.context[row].astype(np.float64)
    return World(features, context, plain_arms(fitted.data.items), expected, coins(rng, expected))


def classification(name: str, seed: int, rounds: int) -> World:
    """A data set of scikit-learn: an arm a class, the right one pays 1. Rows are drawn with replacement.

    Numbers are standardised, as everyone does for linear models. ImportError without scikit-learn.
    """
    return _classes(name, *_loaded(name), seed, rounds)


def digits(seed: int, rounds: int) -> World:
    """Handwritten digits of 8 x 8 pixels, as the means of 4 x 4 fields: which of ten is it."""
    data, target = _loaded("digits")
    return _classes("digits", data.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16), target, seed, rounds)


def diabetes(seed: int, rounds: int) -> World:
    """In which third of all patients is this one, by how far the disease goes in a year."""
    data, target = _loaded("diabetes")
    return _classes("diabetes", data, np.searchsorted(np.quantile(target, (1 / 3, 2 / 3)), target), seed, rounds)


def _loaded(name: str) -> tuple[Floats, Ints]:
    loaded = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    return np.asarray(loaded.data, dtype=np.float64), np.asarray(loaded.target, dtype=np.int64)


def _classes(name: str, data: Floats, target: Ints, seed: int, rounds: int) -> World:
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    low, high = np.floor(data.min(axis=0)), np.ceil(data.max(axis=0))
    features = tuple(
        Feature(f"x{i}", NUMBER, (), max(float(a), -4.0), min(float(b), 4.0))
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    )
    row = generator(name, seed).integers(0, len(data), rounds)
    classes = int(target.max()) + 1
    expected = (target[row][:, None] == np.arange(classes)).astype(np.float64)
    return World(features, data[row], plain_arms(classes), expected, expected)
