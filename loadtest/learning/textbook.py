"""Textbook learners, compiled: opponents that are quick enough for hundreds of worlds.

Disjoint ridge regressions (Li, Chu, Langford, Schapire 2010; ridge 1) with an upper bound, a Thompson draw or one visitor
in ten to any arm; and Thompson sampling that does not look at the context. They see what the other libraries see:
one-hot categories, a constant, numbers of deviation about 1, rewards over a usual one; and they learn in the same blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numba
import numpy as np
from numpy.random import Generator

from loadtest.learning.learner import blocks
from loadtest.learning.problems.world import Floats, Ints, World, generator, one_hot

UCB, THOMPSON, EPSILON, BETA, NORMAL = range(5)
TIE: Final = 1e-9  # scores that differ by less are drawn for


@dataclass(frozen=True)
class Textbook:
    """A rule and its number: the bound's or the draw's standard deviations, or the share that explores."""

    rule: int
    number: float = 0.0


TEXTBOOK: Mapping[str, Textbook] = MappingProxyType({
    "textbook linucb .25": Textbook(UCB, 0.25),
    "textbook linucb .5": Textbook(UCB, 0.5),
    "textbook linucb 1": Textbook(UCB, 1.0),
    "textbook lints .3": Textbook(THOMPSON, 0.3),
    "textbook lints 1": Textbook(THOMPSON, 1.0),
    "textbook epsilon .1": Textbook(EPSILON, 0.1),
    "textbook thompson": Textbook(BETA),
})  # fmt: skip


def play(world: World, name: str, seed: int, batch: int, grow: float = 0.0) -> Ints:
    """The arms a textbook learner chooses, i8[T]."""
    wanted = TEXTBOOK[name]
    rewards = world.drawn / world.typical
    ends = np.array([end for _, end in blocks(world.rounds, batch, grow)], np.int64)
    delay = np.zeros((0, 0), np.int64) if world.delay is None else world.delay
    chosen = np.empty(world.rounds, np.int64)
    rng = generator(name, seed)
    if wanted.rule == BETA:
        coins = bool(np.isin(rewards, (0.0, 1.0)).all())
        _without_context(BETA if coins else NORMAL, rewards, delay, ends, rng, chosen)
    else:
        _linear(wanted.rule, wanted.number, one_hot(world.features, world.context), rewards, delay, ends, rng, chosen)
    return chosen


@numba.njit(cache=True)
def _send(row: int, arm: int, delay: Ints, first: Ints, following: Ints) -> None:
    """The outcome of a row will be known in that round; rows of one round are a linked list."""
    due = row + 1 + (delay[row, arm] if delay.size else 0)
    if due < first.size:
        following[row] = first[due]
        first[due] = row


@numba.njit(cache=True)
def _best(scores: Floats, rng: Generator) -> int:
    """The place of the greatest score; of several one at random."""
    top, ties, at = scores.max(), 0, 0
    for k in range(scores.size):
        if scores[k] >= top - TIE:
            ties += 1
            if rng.random() * ties < 1.0:
                at = k
    return at


@numba.njit(cache=True)
def _take_in(inverse: Floats, theta: Floats, x: Floats, reward: float) -> None:
    """One outcome into (A^-1, theta) of an arm, exactly (Sherman-Morrison)."""
    d = x.size
    moved = np.zeros(d)
    for j in range(d):
        if x[j] != 0.0:
            for i in range(d):
                moved[i] += x[j] * inverse[j, i]
    scale, error = 1.0, reward
    for j in range(d):
        scale += x[j] * moved[j]
        error -= x[j] * theta[j]
    for i in range(d):
        theta[i] += error * moved[i] / scale
        for j in range(d):
            inverse[i, j] -= moved[i] * moved[j] / scale


@numba.njit(cache=True)
def _score(rule: int, number: float, inverse: Floats, theta: Floats, x: Floats, rng: Generator, out: Floats) -> None:
    """What each arm is worth at x under the rule."""
    d, filled = x.size, 0
    index = np.empty(d, np.int64)
    for j in range(d):
        if x[j] != 0.0:
            index[filled] = j
            filled += 1
    for k in range(out.size):
        mean, square = 0.0, 0.0
        for p in range(filled):
            i = index[p]
            mean += x[i] * theta[k, i]
            if rule != EPSILON:
                square += x[i] * x[i] * inverse[k, i, i]
                for q in range(p):
                    square += 2.0 * x[i] * x[index[q]] * inverse[k, i, index[q]]
        width = number * np.sqrt(max(square, 0.0))
        if rule == UCB:
            mean += width
        elif rule == THOMPSON:
            mean += width * rng.normal()
        out[k] = mean


@numba.njit(cache=True)
def _linear(
    rule: int, number: float, x: Floats, rewards: Floats, delay: Ints, ends: Ints, rng: Generator, chosen: Ints
) -> None:
    rounds, arms = rewards.shape
    d = x.shape[1]
    inverse, theta, scores = np.zeros((arms, d, d)), np.zeros((arms, d)), np.empty(arms)
    for k in range(arms):
        for i in range(d):
            inverse[k, i, i] = 1.0
    first, following = np.full(rounds + 1, -1), np.full(rounds, -1)
    start, heard = 0, 0
    for end in ends:
        while heard <= start:
            row = first[heard]
            while row >= 0:
                k = chosen[row]
                _take_in(inverse[k], theta[k], x[row], rewards[row, k])
                row = following[row]
            heard += 1
        for row in range(start, end):
            if rule == EPSILON and rng.random() < number:
                chosen[row] = rng.integers(0, arms)
            else:
                _score(rule, number, inverse, theta, x[row], rng, scores)
                chosen[row] = _best(scores, rng)
            _send(row, chosen[row], delay, first, following)
        start = end


@numba.njit(cache=True)
def _without_context(rule: int, rewards: Floats, delay: Ints, ends: Ints, rng: Generator, chosen: Ints) -> None:
    """Beta(1 + rewarded, 1 + not), or a normal belief with the deviation of all rewards so far (1 at first)."""
    rounds, arms = rewards.shape
    n, s, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    squares = 0.0
    first, following = np.full(rounds + 1, -1), np.full(rounds, -1)
    start, heard = 0, 0
    for end in ends:
        while heard <= start:
            row = first[heard]
            while row >= 0:
                reward = rewards[row, chosen[row]]
                n[chosen[row]] += 1.0
                s[chosen[row]] += reward
                squares += reward * reward
                row = following[row]
            heard += 1
        total = n.sum()
        spread = np.sqrt(max((squares - s.sum() ** 2 / max(total, 1.0) + 1.0) / (total + 1.0), 0.0))
        for row in range(start, end):
            for k in range(arms):
                if rule == BETA:
                    scores[k] = rng.beta(1.0 + s[k], 1.0 + n[k] - s[k])
                else:
                    scores[k] = (s[k] + spread * rng.normal() * np.sqrt(n[k] + 1.0)) / (n[k] + 1.0)
            chosen[row] = _best(scores, rng)
            _send(row, chosen[row], delay, first, following)
        start = end
