"""`auto`: products, evidence, prior means, pending contexts, against their definitions. About 10 s."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.auto import Side, auto, floor_of, prepared, regression
from bandits.basis import basis
from bandits.evidence import Choice, choose, constant, deviance, prior_of
from bandits.expansion import Design, expanded, plain
from bandits.pending import decide_pending, decide_rows_pending
from bandits.policy import decide, decide_batch, probabilities
from bandits.posterior import Posterior, Sums
from bandits.state import Rows, Rules, State, Totals
from tests.oracles import policy as oracle

COLUMNS = 6
NOTHING = np.full(COLUMNS, -1, np.int64)


def made(seed: int, hashed: bool = False, numbers: bool = True) -> tuple[Design, NDArray[np.int16]]:
    """A design with products over oracle.world's columns (three of a category, two numbers), and its cells."""
    _, cells = oracle.world(seed, columns=COLUMNS)
    pairs = [(i, j) for i in range(1, COLUMNS) for j in range(i, COLUMNS) if j > 3]
    room = 4 if hashed else len(pairs)
    terms = sorted((COLUMNS + n % room, i, j, -1 if hashed and n % 3 == 0 else 1) for n, (i, j) in enumerate(pairs))
    missing = np.array([-1, -1, -1, -1, 3, 3], np.int64) if numbers else NOTHING
    return Design(np.arange(COLUMNS), np.array(terms, np.int64), missing), cells


def world(seed: int, hashed: bool = False, strength: float = 0.8) -> tuple[Sums, Design, NDArray[np.int16]]:
    """Sums over learning columns of a world where a product decides."""
    design, cells = made(seed, hashed)
    z = expanded(cells, design) / 4096.0
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 4, len(z))
    sign = np.array([1.0, -1.0, 0.5, 0.0])[arm]
    reward = np.clip(strength * sign * z[:, -1] + 0.1 * rng.normal(size=len(z)), -1.0, 1.0)
    return oracle.sums_of(z, arm, np.round(reward * 32767) / 32767, 4), design, cells


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), hashed=st.booleans(), short=st.integers(1, COLUMNS))
def test_products_row_by_row_and_in_the_fold(seed: int, hashed: bool, short: int) -> None:
    design, cells = made(seed, hashed)
    cells = cells[:30].copy()
    cells[:, short:] = 0  # rows from before a column came
    z = expanded(cells, design)
    for row, got in zip(cells.tolist(), z.tolist(), strict=True):
        assert got == oracle.expand(row, design.place.tolist(), design.terms.tolist(), design.columns)
    assert z.tolist() == expanded(np.ascontiguousarray(cells[:, :short]), design).tolist()
    state = State(Rules(1, 1, 1, design.columns, 0, 0, 1, 86_400_000, design))
    zero = np.zeros(30, np.int64)
    rows = Rows(zero, zero, zero, zero, zero, cells[:, 1:])
    state.add_trials(rows)
    state.add_rewards(rows, Totals(zero, zero, zero + 1, zero, zero))
    sums = state.sums(0)
    assert (sums.xx[0] * 4096**2 == z.T @ z).all()
    assert (sums.xr[0] * 4096 == z.sum(axis=0)).all()


def test_places_of_columns_that_came_after_products() -> None:
    """Main columns 4 and 5 have the learning columns 6 and 7, behind the products 4 and 5."""
    terms = np.array([[4, 1, 1, 1], [5, 1, 2, 1], [5, 2, 3, -1]], np.int64)
    design = Design(np.array([0, 1, 2, 3, 6, 7]), terms, NOTHING)
    row = np.array([[4096, 2048, -4096, 1024, 7, -9]], np.int16)
    assert expanded(row, design).tolist() == [[4096, 2048, -4096, 1024, 1024, -1024, 7, -9]]
    assert design.columns == 8


@pytest.mark.parametrize("ratio", [1.0, 10.0])
def test_evidence_against_its_definition(ratio: float) -> None:
    sums, design, _ = world(3)
    prior = prior_of(Choice(0.3, ratio), design, design.columns)
    assert prior.tolist() == [0.3] * COLUMNS + [0.3 * ratio] * (design.columns - COLUMNS)
    assert deviance(sums, prior, np.arange(4)) == pytest.approx(oracle.deviance(sums, prior), abs=1e-6)


def test_products_switch_themselves_on_only_where_they_pay() -> None:
    """Twenty worlds each way; a product that decides is always found, one that does not costs less than one."""
    on = off = 0
    for seed in range(20):
        for strength in (0.8, 0.0):
            sums, design, _ = world(seed, strength=strength)
            few = prepared(sums, Side(design))[0]
            many = prepared(sums, Side(design, Choice(ratio=1.0)))[0]
            finite = choose(many, few, design).ratio <= 10.0
            on, off = on + (finite and strength > 0.0), off + (not finite and strength == 0.0)
    assert (on, off >= 18) == (20, True)


@pytest.mark.parametrize("choice", [Choice(0.3, 3.0), Choice(1.0, math.inf)])
def test_posterior_against_its_definition(choice: Choice) -> None:
    sums, design, cells = world(5)
    post = auto(sums, {"floor": 0.01}, np.arange(4), Side(design, choice))
    if math.isinf(choice.ratio):
        sums = Sums(*sums[:4], sums.xx[:, :COLUMNS, :COLUMNS], sums.xr[:, :COLUMNS])
        assert post.design is None
    d = sums.xr.shape[1]
    t = basis(sums.xx.sum(axis=0), design if post.design is not None else design.mains)
    assert t is not None
    prior = np.where(np.arange(d) < COLUMNS, choice.ridge, choice.ridge * choice.ratio)
    width = prior / choice.ridge * min(0.3, choice.ridge)
    xx, xr = np.array([t @ s @ t.T for s in sums.xx]), sums.xr @ t.T
    start = constant(sums._replace(xx=xx, xr=xr), prior, np.arange(4)) * np.eye(d)[0]
    theta = [np.linalg.solve(xx[k] + np.diag(prior), xr[k] + prior * start) for k in range(4)]
    rss = np.array([sums.s2[k] - 2 * theta[k] @ xr[k] + theta[k] @ xx[k] @ theta[k] for k in range(4)])
    rss += [(prior * (theta[k] - start) ** 2).sum() for k in range(4)]  # and what the prior takes
    n, s1, s2 = sums.n.sum(), sums.s1.sum(), sums.s2.sum()
    pooled = (rss.sum() + 2 * (s2 / n - (s1 / n) ** 2)) / (n + 2)
    for k in range(4):
        noise = (rss[k] + 10 * pooled) / (sums.n[k] + 10)
        assert post.theta[k] == pytest.approx(t.T @ theta[k], abs=1e-9)
        assert post.cov[k] == pytest.approx(noise * t.T @ np.linalg.inv(xx[k] + np.diag(width)) @ t, abs=1e-9)
    z = expanded(cells[:20], design if post.design is not None else design.mains) / 4096.0
    for row, x in zip(cells[:20], z, strict=True):
        scale = np.sqrt(np.einsum("i,kij,j->k", x, post.cov, x))
        exact = oracle.floored(oracle.shares(post.theta @ x, post.alpha * scale, post.grid), 0.01)
        assert probabilities(post, row / 4096.0, np.arange(4)) == pytest.approx(exact, abs=1e-9)


def test_an_arm_is_not_ruled_out_by_less_than_nothing() -> None:
    """An arm that pays in one of four contexts looks as if it paid -1 in the opposite one, without products.

    Rewards are 0 or 1 and sure, so the fit leaves little doubt: only that nobody can earn less than nothing keeps the
    arm in the race. With rewards that may be negative, -1 is an estimate like any other.
    """
    contexts = np.array([[1.0, a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)])
    x = np.repeat(np.concatenate([contexts[1:], contexts[:1]]), 30, axis=0)
    arm = np.repeat([0, 0, 0, 1], 30)  # arm 0 was never shown in the first context, arm 1 nowhere else
    reward = (x[:, 1] * x[:, 2] * (arm == 0)).round()
    sums, at = oracle.sums_of(x, arm, reward, 2), np.array([1.0, 0.0, 0.0])
    for least, tried in ((0.0, True), (-math.inf, False)):
        post = auto(sums, {"floor": 0.0}, np.arange(2), Side(None, Choice(0.1, math.inf), None, least))
        centre = post.theta @ at
        assert centre[0] < -0.8
        width = post.alpha * np.sqrt(np.einsum("i,kij,j->k", at, post.cov, at))
        exact = oracle.shares(np.maximum(centre, least), width, post.grid)
        found = probabilities(post, at, np.arange(2))
        assert found == pytest.approx(exact, abs=1e-12)
        assert bool(found[0] > 0.5) == tried


def test_bits_do_not_depend_on_who_derives() -> None:
    sums, design, _ = world(6)
    copy = Sums(*(column.copy() for column in sums))
    one, two = (auto(s, {}, np.arange(4), Side(design)) for s in (sums, copy))
    assert one.packed.tobytes() == two.packed.tobytes()


def test_batch_and_single_choice_agree_with_products() -> None:
    sums, design, cells = world(7)
    arms = np.arange(4)
    post = auto(sums, {}, arms, Side(design, Choice(0.3, 1.0)))
    units = np.arange(50, dtype=np.uint64)
    chosen, propensity, out = np.empty(50, np.int64), np.empty(50), np.empty(4)
    decide_batch(post, cells[:50], arms, units, 9, chosen, propensity)
    for i in range(50):
        assert decide(post.packed, cells[i], arms, i, 9, out) == chosen[i]
        assert out[chosen[i]] == propensity[i]
        assert out.tobytes() == probabilities(post, cells[i] / 4096.0, arms).tobytes()


def pending_of(post: Posterior, sums: Sums, design: Design, rows: NDArray[np.int16], arm: int) -> Posterior:
    """The posterior whose width has seen these rows for the arm, by adding x x' and inverting again."""
    x = expanded(rows, design) / 4096.0
    cov = post.cov.copy()
    noise = post.par[arm, 0]
    cov[arm] = np.linalg.inv(np.linalg.inv(post.cov[arm]) + x.T @ x / noise)
    return post._replace(cov=cov)


@pytest.mark.parametrize("products", [True, False])
def test_pending_contexts_are_a_refit_of_the_width(products: bool) -> None:
    sums, design, cells = world(8)
    design = design if products else design.mains
    post = auto(sums, {"floor": 0.0}, np.arange(4), Side(None, Choice(0.3, math.inf)) if not products else
                Side(design, Choice(0.3, 1.0)))  # fmt: skip
    if not products:
        sums = Sums(*sums[:4], sums.xx[:, :COLUMNS, :COLUMNS].copy(), sums.xr[:, :COLUMNS].copy())
        post = auto(sums, {"floor": 0.0}, np.arange(4), Side(plain(COLUMNS), Choice(0.3, math.inf)))
        design = plain(COLUMNS)
    packed, out, one = post.packed.copy(), np.empty(1), np.array([2])
    for i in range(10):
        decide_pending(packed, cells[i], one, i, 3, out)
    after = pending_of(post, sums, design, cells[:10], 2)
    for row in cells[20:40]:
        x = expanded(row[None, :], design)[0] / 4096.0
        scale = np.sqrt(np.einsum("i,kij,j->k", x, after.cov, x))
        exact = oracle.shares(post.theta @ x, post.alpha * scale, post.grid)
        p = np.empty(4)
        decide(packed, row, np.arange(4), 1, 1, p)
        assert p == pytest.approx(exact, abs=1e-9)
    assert post.packed.tobytes() != packed.tobytes()


def test_a_batch_learns_from_itself_as_single_choices_do() -> None:
    sums, design, cells = world(9)
    post = auto(sums, {}, np.arange(4), Side(design))
    arms, out = np.arange(4), np.empty(4)
    one, many = post.packed.copy(), post.packed.copy()
    chosen, propensity = np.empty(60, np.int64), np.empty(60)
    decide_rows_pending(many, cells[:60], arms, np.arange(60, dtype=np.uint64), 5, chosen, propensity)
    for i in range(60):
        assert decide_pending(one, cells[i], arms, i, 5, out) == chosen[i]
        assert out[chosen[i]] == propensity[i]
    assert one.tobytes() == many.tobytes()


def test_a_number_counts_the_same_whatever_its_declared_range() -> None:
    """Values 1.8 to 2.2 of a declared 0 to 50 give the coefficients that standardised ones give."""
    rng = np.random.default_rng(11)
    n = 4000
    value = rng.uniform(-1, 1, n)
    reward = 0.3 * value + 0.05 * rng.normal(size=n)
    arm = rng.integers(0, 2, n)
    found = []
    for scale, shift in ((1.0, 0.0), (0.05, -0.9)):
        x = np.stack([np.ones(n), np.zeros(n), shift + scale * value], axis=1)
        design = Design(np.arange(3), np.zeros((0, 4), np.int64), np.array([-1, -1, 1], np.int64))
        post = auto(oracle.sums_of(x, arm, reward, 2), {}, np.arange(2), Side(design, Choice(1.0, math.inf)))
        found.append([post.theta[0] @ [1.0, 0.0, shift + scale * v] for v in (-1.0, 0.3, 1.0)])
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_prior_means_of_many_arms_come_from_their_attributes() -> None:
    """Forty arms of four tones; an arm that nobody has seen starts at its tone, not at the mean of all."""
    rng = np.random.default_rng(12)
    tone = np.arange(40) % 4
    worth = np.array([0.1, 0.2, 0.3, 0.6])[tone]
    arm = rng.integers(0, 39, 4000)
    reward = (rng.random(4000) < worth[arm]).astype(float)
    sums = oracle.sums_of(np.ones((4000, 1)), arm, reward, 40)
    groups = (tone[None, :] == np.arange(4)[:, None]).astype(float)
    prior = np.array([1.0])
    assert abs(regression(sums, prior, None).theta[39, 0] - 0.3) < 0.05
    assert regression(sums, prior, groups).theta[39, 0] == pytest.approx(0.6, abs=0.05)
    # where the attribute says nothing it is left alone
    still = oracle.sums_of(np.ones((4000, 1)), arm, (rng.random(4000) < 0.3).astype(float), 40)
    assert regression(still, prior, groups).theta[39, 0] == pytest.approx(0.3, abs=0.03)


def test_the_floor_falls_with_trials_and_a_given_one_does_not() -> None:
    arms = np.arange(4)
    n = np.array([10.0, 50.0, 100.0, 400.0, 1e6])
    floors = [floor_of(oracle.counts([k] * 4, [0] * 4), arms) for k in n]
    assert floors == pytest.approx([0.01, 0.01, 0.005, 0.002, 0.002])
    assert auto(oracle.counts([1e6] * 4, [1] * 4), {"floor": 0.05}, arms).floor == 0.05
