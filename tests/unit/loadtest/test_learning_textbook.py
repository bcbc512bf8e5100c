"""The compiled opponents against slow obvious twins, and that each of them learns."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.learning import textbook
from loadtest.learning.learner import Post, blocks
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.problems.world import Floats, Ints, World, one_hot
from loadtest.learning.textbook import TEXTBOOK, THOMPSON, UCB


def world(name: str, rounds: int) -> World:
    return PROBLEMS[name].world(1).cut(rounds)


def bounds(made: World, alpha: float, batch: int, chosen: Ints) -> Floats:
    """f8[T, K], Li et al. 2010, algorithm 1: the bounds after what these choices taught, a matrix inverted each block."""
    x, arms = one_hot(made.features, made.context), len(made.arms)
    a, b = np.tile(np.eye(x.shape[1]), (arms, 1, 1)), np.zeros((arms, x.shape[1]))
    out, post = np.empty(made.drawn.shape), Post(made)
    for start, end in blocks(made.rounds, batch):
        for row in post.collect(start):
            a[chosen[row]] += np.outer(x[row], x[row])
            b[chosen[row]] += made.drawn[row, chosen[row]] / made.typical * x[row]
        inverse = np.linalg.inv(a)
        for row in range(start, end):
            width = np.sqrt(np.einsum("i,kij,j->k", x[row], inverse, x[row]))
            out[row] = np.einsum("kij,kj,i->k", inverse, b, x[row]) + alpha * width
            post.send(row, int(chosen[row]))
    return out


@pytest.mark.parametrize("name", ["shop", "late-geometric", "gaussian", "revenue"])
def test_linucb_shows_an_arm_of_the_greatest_bound(name: str) -> None:
    made = world(name, 600)
    chosen = textbook.play(made, "textbook linucb .5", 1, 25)
    bound = bounds(made, 0.5, 25, chosen)
    assert np.allclose(bound[np.arange(600), chosen], bound.max(axis=1), atol=1e-8)


def test_arms_that_tie_are_drawn_for() -> None:
    made = world("marketing", 4_000)
    shares = np.bincount(textbook.play(made, "textbook linucb 1", 1, 4_000), minlength=8) / 4_000
    assert np.abs(shares - 1 / 8).max() < 5.0 * np.sqrt(7 / 64 / 4_000)


def test_a_thompson_score_has_the_bounds_width() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(2, 3, 3))
    inverse, theta, x = np.einsum("kij,klj->kil", root, root), rng.normal(size=(2, 3)), np.array([1.0, 0.0, -0.5])
    drawn, out = np.empty((20_000, 2)), np.empty(2)
    for row in drawn:
        textbook._score(THOMPSON, 0.3, inverse, theta, x, rng, row)
    textbook._score(UCB, 0.3, inverse, theta, x, rng, out)
    width = out - theta @ x
    assert np.allclose(width, 0.3 * np.sqrt(np.einsum("i,kij,j->k", x, inverse, x)))
    assert np.allclose(drawn.mean(axis=0), theta @ x, atol=5.0 * width.max() / np.sqrt(20_000))
    assert np.allclose(drawn.std(axis=0), width, rtol=0.04)


@pytest.mark.parametrize("name", sorted(TEXTBOOK))
def test_each_of_them_learns_and_can_be_repeated(name: str) -> None:
    """Arms of 2 to 12 %: at random one loses the stake."""
    made = world("no-context", 5_000)
    rows = np.arange(5_000)
    chosen = textbook.play(made, name, 1, 20)
    assert np.array_equal(chosen, textbook.play(made, name, 1, 20))
    assert not np.array_equal(chosen, textbook.play(made, name, 2, 20))
    assert made.oracle - made.expected[rows, chosen].mean() < 0.85 * made.stake


def test_amounts_are_learned_from_without_context() -> None:
    made = world("revenue", 8_000)
    chosen = textbook.play(made, "textbook thompson", 1, 20, 0.01)
    assert made.expected[np.arange(8_000), chosen][4_000:].mean() > made.expected[4_000:].mean()
