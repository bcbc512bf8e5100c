"""`auto`: products, evidence, prior means, pending contexts, against their definitions. About 10 s."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.auto import Side, auto, prepared, shares
from bandits.basis import basis
from bandits.evidence import RIDGES, SURE, TIGHT, Choice, choose, constant, deviance, prior_of
from bandits.expansion import Design, expanded, plain
from bandits.policy import POLICIES, decide, decide_batch, probabilities
from bandits.posterior import Posterior, Sums
from bandits.spread import precision
from bandits.state import Rows, Rules, State, Totals
from tests.oracles import policy as oracle

SETTINGS = POLICIES["auto"].complete({})
COLUMNS = 6
Floats = NDArray[np.float64]
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
    assert prior.tolist() == [1.0] + [0.3] * (COLUMNS - 1) + [0.3 * ratio] * (design.columns - COLUMNS)
    assert deviance(sums, prior, np.arange(4)) == pytest.approx(oracle.deviance(sums, prior), abs=1e-6)


def test_products_switch_themselves_on_only_where_they_pay() -> None:
    """Twenty worlds each way; a product that decides is always found, one that does not costs less than one."""
    on = off = 0
    for seed in range(20):
        for strength in (0.8, 0.0):
            sums, design, _ = world(seed, strength=strength)
            few = prepared(sums, Side(design))[0]
            many = prepared(sums, Side(design, Choice(ratio=1.0)))[0]
            finite = not math.isinf(choose(many, few, design).ratio)
            on, off = on + (finite and strength > 0.0), off + (not finite and strength == 0.0)
    assert (on, off >= 18) == (20, True)


def shop(seed: int, trials: int, rate: float, effect: float) -> Sums:
    """Ten arms, all alike on average, and a category of four values that moves each by such a part of its rate."""
    rng = np.random.default_rng(seed)
    value, arm = rng.integers(0, 4, trials), rng.integers(0, 10, trials)
    x = np.column_stack([np.ones(trials), value[:, None] == np.arange(4)])
    chance = rate * np.exp(rng.normal(0.0, effect, (10, 4)))
    return oracle.sums_of(x, arm, (rng.random(trials) < chance[arm, value]).astype(float), 10)


@pytest.mark.parametrize(("trials", "rate", "effect", "ridges"), [
    (40_000, 0.005, 0.02, TIGHT),  # next to nothing: held as close as that
    (40_000, 0.01, 0.8, RIDGES),  # much, rare as rewards are
    (40_000, 0.3, 0.05, (100.0, *TIGHT)),
    (1_000, 0.05, 0.0, RIDGES),  # nothing, but who could know by then
    (20, 0.3, 0.3, RIDGES),
])  # fmt: skip
def test_features_are_held_as_close_as_is_likely_beside_the_rate(
    trials: int, rate: float, effect: float, ridges: Sequence[float]
) -> None:
    """And the choice is the least of the definition over all ridges, closer ones being surely likelier."""
    for seed in range(4):
        sums = shop(seed, trials, rate, effect)
        ridge = choose(sums, sums, plain(5)).ridge
        assert ridge in ridges

        def score(ridge: float, sums: Sums = sums) -> float:
            return oracle.deviance(sums, prior_of(Choice(ridge), plain(5), 5)) + SURE * (ridge in TIGHT)

        assert score(ridge) == pytest.approx(min(score(other) for other in RIDGES + TIGHT), abs=1e-5)


@pytest.mark.parametrize("choice", [Choice(3.0, 10.0), Choice(1.0, math.inf)])
@pytest.mark.parametrize("least", [0.0, -math.inf])
def test_posterior_and_pmf_against_their_definitions(choice: Choice, least: float) -> None:
    sums, design, cells = world(5)
    post = auto(sums, SETTINGS | {"floor": 0.01}, np.arange(4), Side(design, choice, least, 2))
    if math.isinf(choice.ratio):
        sums = Sums(*sums[:4], sums.xx[:, :COLUMNS, :COLUMNS], sums.xr[:, :COLUMNS])
        assert post.design is None
    d = sums.xr.shape[1]
    t = basis(sums.xx.sum(axis=0), design if post.design is not None else design.mains)
    assert t is not None
    prior = np.where(np.arange(d) < COLUMNS, choice.ridge, choice.ridge * choice.ratio)
    prior[0] = 1.0
    xx, xr = np.array([t @ s @ t.T for s in sums.xx]), sums.xr @ t.T
    start = constant(sums._replace(xx=xx, xr=xr), prior, np.arange(4)) * np.eye(d)[0]
    theta = [np.linalg.solve(xx[k] + np.diag(prior), xr[k] + prior * start) for k in range(4)]
    rss = np.array([sums.s2[k] - 2 * theta[k] @ xr[k] + theta[k] @ xx[k] @ theta[k] for k in range(4)])
    rss += [(prior * (theta[k] - start) ** 2).sum() for k in range(4)]  # and what the prior takes
    n, s1, s2 = sums.n.sum(), sums.s1.sum(), sums.s2.sum()
    noise = (rss.sum() + 2 * (s2 / n - (s1 / n) ** 2)) / (n + 2)
    for k in range(4):
        assert post.theta[k] == pytest.approx(t.T @ theta[k], abs=1e-9)
        assert post.cov[k] == pytest.approx(noise * t.T @ np.linalg.inv(xx[k] + np.diag(prior)) @ t, abs=1e-9)
    z = expanded(cells[:20], design if post.design is not None else design.mains) / 4096.0
    average = (t @ sums.xx.sum(axis=0) @ t.T)[0]
    chance = np.full(4, 5 / 400)
    chance[np.argsort(-(np.array(theta) @ average))[:2]] = chance[2] = 0.03  # the third arm is the default one
    for row, x in zip(cells[:20], z, strict=True):
        v = np.einsum("i,kij,j->k", x, post.cov, x)
        heat = np.sqrt(0.1**2 + 3.0 / (1.0 + sums.rewarded.sum()))
        p = oracle.optimist(np.maximum(post.theta @ x, least), v, chance, noise, heat)
        exact = oracle.floored(p, 0.01)
        assert probabilities(post, row / 4096.0, np.arange(4)) == pytest.approx(exact, abs=1e-9)


def test_bits_do_not_depend_on_who_derives() -> None:
    sums, design, _ = world(6)
    copy = Sums(*(column.copy() for column in sums))
    one, two = (auto(s, SETTINGS, np.arange(4), Side(design)) for s in (sums, copy))
    assert one.packed.tobytes() == two.packed.tobytes()


def test_batch_and_single_choice_agree_with_products() -> None:
    sums, design, cells = world(7)
    arms = np.arange(4)
    post = auto(sums, SETTINGS, arms, Side(design, Choice(0.3, 1.0)))
    units = np.arange(50, dtype=np.uint64)
    chosen, propensity, out = np.empty(50, np.int64), np.empty(50), np.empty(4)
    decide_batch(post, cells[:50], arms, units, 9, chosen, propensity)
    for i in range(50):
        assert decide(post.packed, cells[i], arms, i, 9, out) == chosen[i]
        assert out[chosen[i]] == propensity[i]
        assert out.tobytes() == probabilities(post, cells[i] / 4096.0, arms).tobytes()


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
        post = auto(oracle.sums_of(x, arm, reward, 2), SETTINGS, np.arange(2), Side(design, Choice(1.0, math.inf)))
        found.append([post.theta[0] @ [1.0, 0.0, shift + scale * v] for v in (-1.0, 0.3, 1.0)])
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def coins(n: list[int], won: list[int], least: float = 0.0) -> Posterior:
    sums = oracle.counts(n, won)
    return auto(sums, SETTINGS, np.arange(len(n)), Side(least=least))


@pytest.mark.parametrize(("n", "won"), [
    ([400, 900, 300, 500], [8, 180, 60, 20]),
    ([50, 60, 0], [1, 30, 0]),
    ([400] * 6 + [700] * 5 + [0], [2, 1, 0, 3, 1, 2, 9, 4, 30, 2, 1, 0]),
])  # fmt: skip
def test_pmf_without_features(n: list[int], won: list[int]) -> None:
    """A regression is a mean of n + d trials then, d of them the likeliest common constant."""
    post, k, s = coins(n, won), np.array(n, dtype=float), np.array(won, dtype=float)
    seen = k > 0
    many = len(n) > 10
    d = oracle.spread(n, won) if many else 1.0
    start = (s / (k + d))[seen].sum() / (k / (k + d))[seen].sum()
    m, h = (s + d * start) / (k + d), 1 / (k + d)
    left = s - 2 * m * s + k * m * m + np.where(seen, d * (m - start) ** 2, 0.0)
    mean = s.sum() / k.sum()
    noise = (left.sum() + 2 * mean * (1 - mean)) / (k.sum() + 2)
    heat = np.sqrt((0.04 if many else 0.01) + 3 / (1 + s.sum()))
    part = min(1, 10 / len(n)) / len(n)
    chance = np.full(len(n), max(0.022 * part, min(0.1 * part, 5 / k.sum())))
    chance[np.argsort(-m)[:2]] = max(min(0.03, 80 / k.sum()), chance[0])
    exact = oracle.optimist(m, noise * h, chance, noise, heat)
    assert probabilities(post, np.ones(1), np.arange(len(n))) == pytest.approx(exact, abs=1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(rates=st.lists(st.floats(0.0, 0.9), min_size=10, max_size=20), trials=st.integers(500, 20_000))
def test_an_arm_that_nobody_saw_may_be_the_best(rates: list[float], trials: int) -> None:
    """However far the leader is ahead, once four arms have been rewarded (docs/learning.md); and the prior is that of the definition."""
    n, won = [trials] * len(rates) + [0], [round(trials * rate**3) for rate in rates] + [0]
    sums, every = oracle.counts(n, won), np.arange(len(n))
    assert precision(sums) == pytest.approx(oracle.spread(n, won), rel=1e-9)
    assert precision(oracle.counts(n, won)._replace(s1=sums.s1 / 50, s2=sums.s2 / 2500)) == pytest.approx(
        precision(sums)
    )
    p = probabilities(auto(sums, SETTINGS, every, Side(least=0.0)), np.ones(1), every)
    assert p[-1] >= 0.05 or precision(sums) == 1.0 or np.count_nonzero(won) < 4


def test_where_features_play_a_part_an_arms_prior_is_one_trial() -> None:
    """So it is of few arms, and where rewards may be negative: their mean says nothing of how far arms are apart."""
    sums, empty = shop(1, 4_000, 0.01, 0.5), 11
    sums = Sums(*(np.concatenate([c, np.zeros_like(c[:2])]) for c in sums))
    wide, every = precision(sums), np.arange(12)
    for least, ridge, arms, trials in (
        (0.0, 10.0, every, 1.0),
        (0.0, 1e3, every, wide),
        (0.0, 1e3, every[2:], 1.0),
        (-1.0, 1e3, every, 1.0),
    ):
        post = auto(sums, SETTINGS, arms, Side(None, Choice(ridge), least))
        assert post.cov[empty, 1, 1] / post.cov[empty, 0, 0] == pytest.approx(trials / ridge)
    assert wide > 50.0


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
        post = auto(sums, SETTINGS, np.arange(2), Side(None, Choice(1.0, math.inf), least))
        assert post.theta[0] @ at < -0.7
        assert bool(probabilities(post, at, np.arange(2))[0] > 0.5) == tried


def test_one_reward_is_no_proof() -> None:
    """Three arms of 50 trials, one of which earned once: Beta Thompson sampling says .61, .19 and .19."""
    p = probabilities(coins([50, 50, 50], [1, 0, 0]), np.ones(1), np.arange(3))
    assert p == pytest.approx([0.61, 0.195, 0.195], abs=0.1)
    assert p[1] == p[2]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), arms=st.integers(2, 7))
def test_equal_arms_have_equal_odds(seed: int, arms: int) -> None:
    """Whatever was seen: two arms of the same sums, and those that nobody has seen."""
    sums, cells = oracle.world(seed, arms, columns=4, trials=80)
    twice = Sums(*(np.concatenate([c, c[:1], np.zeros_like(c[:2])]) for c in sums))
    post = auto(twice, SETTINGS, np.arange(arms + 3), Side(least=0.0 if seed % 2 else -math.inf))
    p = probabilities(post, cells[seed % 80] / 4096.0, np.arange(arms + 3))
    assert p[0] == p[arms]
    assert p[arms + 1] == p[arms + 2]
    nothing = auto(Sums(*(np.zeros_like(c) for c in sums)), SETTINGS, np.arange(arms), Side(least=0.0, control=0))
    assert probabilities(nothing, cells[0] / 4096.0, np.arange(arms)) == pytest.approx(
        np.full(arms, 1 / arms), abs=1e-15
    )


def share(n: Sequence[float], won: Sequence[float], control: int | None = None) -> Floats:
    sums = oracle.counts(n, won)
    return shares(sums, (sums.s1 / np.maximum(sums.n, 1.0))[:, None], np.arange(len(n)), Side(control=control))


def test_shares_for_the_sake_of_evidence() -> None:
    """All arms have one, more at first; the default arm, the best one and the next have more."""
    assert share([0] * 4, [0] * 4).tolist() == [0.1 / 4] * 4
    assert share([0] * 4, [0] * 4, 2).tolist() == [0.1 / 4, 0.1 / 4, 0.03, 0.1 / 4]
    assert share([500] * 4, [1, 9, 8, 2], 0).tolist() == [0.03, 0.03, 0.03, 0.022 / 4]
    assert share([2.5e3] * 4, [1, 9, 8, 2]) == pytest.approx([12e-4, 80e-4, 80e-4, 12e-4])
    assert share([2.5e4] * 40, [1, 2] + [0] * 38)[9] == pytest.approx(12e-6)  # ten shows of each arm, see ope.SHOWS
    assert share([1e3] * 40, [1, 2] + [0] * 38)[9] == pytest.approx(0.022 / 160)  # many arms: not all of the traffic


def test_settings_change_what_is_shown_and_nothing_that_is_believed() -> None:
    posts = [
        auto(oracle.counts([300] * 4, [3, 9, 30, 60]), SETTINGS | {"evidence": float(e)}, np.arange(4))
        for e in range(3)
    ]
    least = [probabilities(post, np.ones(1), np.arange(4)).min() for post in posts]
    assert least[0] < least[1] < least[2]
    assert all((post.theta == posts[0].theta).all() and (post.cov == posts[0].cov).all() for post in posts)
