"""What is said of arms: Beta beliefs on the metric's range, against scipy and as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bandits.posterior import Sums
from bandits.summary import RIDGE, SMALL, SPREADS, Span, Summary, early, seen, shapes, summary
from bandits.within import inside
from tests.oracles import policy as oracle
from tests.oracles.policy import Floats

CASES = settings(max_examples=80, deadline=None, derandomize=True)
YES_NO = Span(0.0, 1.0, True)
SEEDS = st.integers(0, 2**32 - 1)


def said(sums: Sums, span: Span = YES_NO, x: Floats | None = None) -> Summary:
    x = np.ones(1) if x is None else x
    return summary(seen(sums, x), span, np.arange(sums.n.size))


def test_a_yes_or_no_metric_has_the_posterior_of_jeffreys() -> None:
    n, s = np.array([42.0, 120.5, 4.5, 3000.0]), np.array([12.0, 40.5, 0.0, 2999.0])
    got, a, b = said(oracle.counts(n, s)), s + 0.5, n - s + 0.5
    assert got.mean == pytest.approx(a / (a + b), abs=1e-14)
    assert got.low == pytest.approx(np.minimum(stats.beta(a, b).ppf(0.025), s / n), abs=1e-11)
    assert got.high == pytest.approx(np.maximum(stats.beta(a, b).ppf(0.975), s / n), abs=1e-11)


def test_the_best_is_asked_of_a_family() -> None:
    """P(best) and loss: the mean over spreads of the family, weighted by the likelihood of the trials under each."""
    n, s = np.array([400.0, 900.0, 700.0]), np.array([12.0, 45.0, 20.0])
    got, every = said(oracle.counts(n, s)), []
    for spread in SPREADS:
        weight = n
        for _ in range(4):
            raw = (weight * s / n).sum() / weight.sum()
            mean = raw + (0.5 - raw) / (n.sum() + 1)
            worth = (1 - mean) / (mean * spread**2) - 1  # sd of a Beta of this worth: spread x mean
            weight = n / (n + worth)
        a, b = mean * worth, (1 - mean) * worth
        assert stats.beta(a, b).std() == pytest.approx(spread * mean)
        likely = stats.betabinom(n.astype(int), a, b).logpmf(s.astype(int)).sum()
        best, greatest = oracle.greatest(oracle.Betas(a + s, b + n - s))
        every.append((likely, best, greatest - (a + s) / (a + b + n)))
    weight = np.exp([likely - every[0][0] for likely, _, _ in every])
    weight /= weight.sum()
    assert got.best == pytest.approx(sum(w * best for w, (_, best, _) in zip(weight, every, strict=True)), abs=1e-8)
    assert got.loss == pytest.approx(sum(w * loss for w, (_, _, loss) in zip(weight, every, strict=True)), abs=1e-8)


def test_one_formula_gives_the_same_where_rewards_are_rare() -> None:
    """As a metric of any other range: the belief of the same mean and variance is Jeffreys' one again."""
    sums = oracle.counts([4000, 9000, 7000], [3, 0, 9])
    yes, other = (shapes(seen(sums, np.ones(1)), span) for span in (YES_NO, Span(0.0, 1.0, False)))
    assert other == pytest.approx(yes, rel=1e-3)


def test_trials_at_the_average_context_against_lapack() -> None:
    sums, _ = oracle.world(4, arms=3, columns=5, trials=200)
    total = sums.xx[:, 0, :].sum(axis=0)
    x = total / total[0]
    got = seen(sums, x)
    for k in range(3):
        inverse = np.linalg.inv(sums.xx[k] + np.diag([SMALL, *[RIDGE] * 4]))
        assert got.n[k] == pytest.approx(1 / (x @ inverse @ x) - SMALL)
        assert got.n[k] <= sums.n[k]
        assert got.s1[k] / got.n[k] == pytest.approx(sums.xr[k] @ inverse @ x, rel=1e-3)
        left = sums.s2[k] - sums.xr[k] @ inverse @ sums.xr[k]
        assert got.s2[k] / got.n[k] == pytest.approx(left / sums.n[k] + (got.s1[k] / got.n[k]) ** 2)


def test_who_was_shown_an_arm_does_not_make_it_better() -> None:
    """Two arms that are alike, one shown to those who buy anyway: their own means differ, what is said does not."""
    rng = np.random.default_rng(8)
    keen = rng.random(4000) < 0.5
    arm = (rng.random(4000) < np.where(keen, 0.9, 0.1)).astype(np.int64)
    reward = (rng.random(4000) < np.where(keen, 0.4, 0.1)).astype(float)
    sums = oracle.sums_of(np.stack([np.ones(4000), keen], axis=1), arm, reward, 2)
    assert sums.s1[1] / sums.n[1] - sums.s1[0] / sums.n[0] > 0.2
    got = said(sums, x=np.array([1.0, keen.mean()]))
    assert abs(got.mean[1] - got.mean[0]) < 0.05
    assert got.best.max() < 0.99


def test_when_it_is_too_early() -> None:
    def soon(trials: list[float], rewarded: list[float]) -> bool:
        return early(np.array(trials), np.array(rewarded))

    assert soon([30, 29], [4, 4])
    assert not soon([30, 30], [4, 4])
    assert not soon([30, 30, 0], [1, 1, 0])  # the third was never shown
    assert soon([400, 400], [29, 0])
    assert not soon([400, 400], [30, 0])
    assert soon([0, 0], [0, 0])
    assert not soon([3], [0])


def test_a_click_of_ten_arms() -> None:
    """It used to be called the worst of all, with a loss above what the metric can pay."""
    got = said(oracle.counts([1] * 10, [1] + [0] * 9))
    assert int(got.best.argmax()) == 0
    assert got.loss[0] == got.loss.min()
    assert got.loss.max() < 1.0


def test_a_hundred_empty_trials_are_not_sure_to_be_nothing() -> None:
    for span in (YES_NO, Span(0.0, 1.0, False), Span(-1.0, 0.0, False), Span(-0.2, 1.0, False)):
        got = said(oracle.counts([100, 100], [0, 0]), span)
        assert (got.high - got.low > 0.01).all()


def sums_like(seed: int, arms: int, columns: int, span: Span) -> Sums:
    """Anything: few or many trials, rare or common rewards, arms without a trial, fractions as forgetting leaves."""
    rng = np.random.default_rng(seed)
    trials = int(10 ** rng.uniform(0, 3.5))
    x = np.concatenate([np.ones((trials, 1)), rng.uniform(-1, 1, (trials, columns - 1))], axis=1)
    arm = rng.integers(0, arms, trials)
    reward = np.where(rng.random(trials) < 10 ** rng.uniform(-3, 0), span.high, 0.0)
    if not span.binary:
        reward = reward * rng.uniform(span.low, 1.0, trials) / max(span.high, 1e-9)
    w = 10.0 ** rng.uniform(-2, 0)
    return Sums(*(column * w for column in oracle.sums_of(x, arm, reward, arms)))


@CASES
@given(
    seed=SEEDS, arms=st.integers(1, 7), columns=st.integers(1, 5),
    span=st.sampled_from([YES_NO, Span(0.0, 1.0, False), Span(-0.3, 1.0, False), Span(-1.0, 0.0, False)]),
)  # fmt: skip
def test_everything_said_is_possible(seed: int, arms: int, columns: int, span: Span) -> None:
    sums = sums_like(seed, arms, columns, span)
    x = np.random.default_rng(seed).uniform(-1, 1, columns)
    x[0] = 1.0
    got = said(sums, span, x)
    tiny = 1e-12
    assert (got.low >= span.low - tiny).all()
    assert (got.high <= span.high + tiny).all()
    assert ((got.low <= got.mean + tiny) & (got.mean <= got.high + tiny)).all()
    assert (got.low < got.high).all()
    assert ((got.best >= 0) & (got.best <= 1 + tiny)).all()
    assert got.best.sum() == pytest.approx(1.0)
    assert ((got.loss >= 0) & (got.loss <= span.high - span.low)).all()
    assert (seen(sums, x).n <= sums.n + tiny).all()


@CASES
@given(seed=SEEDS, columns=st.integers(1, 5), trials=st.integers(1, 200))
def test_a_click_never_makes_an_arm_worse(seed: int, columns: int, trials: int) -> None:
    """Three arms of the same trials, one of them clicked once, by whomever."""
    rng = np.random.default_rng(seed)
    own = np.concatenate([np.ones((trials, 1)), rng.uniform(-1, 1, (trials, columns - 1))], axis=1)
    reward = np.zeros(3 * trials)
    reward[int(rng.integers(0, trials))] = 1.0
    sums = oracle.sums_of(np.tile(own, (3, 1)), np.repeat(np.arange(3), trials), reward, 3)
    got = said(sums, x=own.mean(axis=0))
    assert got.mean[0] >= got.mean[1:].max() - 1e-9
    assert got.best[0] >= got.best[1:].max() - 1e-9
    assert got.loss[0] <= got.loss[1:].min() + 1e-9
    assert got.mean[1] == pytest.approx(got.mean[2])


@given(
    mean=st.floats(-5, 5),
    deviation=st.floats(0, 20),
    low=st.sampled_from([0.0, -1.0, -0.3]),
    high=st.sampled_from([1.0, 0.2]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_belief_is_kept_inside_the_span(mean: float, deviation: float, low: float, high: float) -> None:
    span = Span(low, high, False)
    got = inside(np.array([mean]), np.array([deviation]), span)
    assert low <= got.low[0] <= got.mean[0] <= got.high[0] <= high
    a, b = (low - mean) / deviation if deviation else 0.0, (high - mean) / deviation if deviation else 0.0
    if deviation > 1e-3 and b > -30 and a < 30:
        true = stats.truncnorm(a, b, mean, deviation)
        tiny = 1e-3 * float(true.ppf(0.975) - true.ppf(0.025))
        assert [got.mean[0], got.low[0], got.high[0]] == pytest.approx(
            [true.mean(), true.ppf(0.025), true.ppf(0.975)], abs=tiny
        )


def test_a_belief_of_nothing_stays_one() -> None:
    got = inside(np.array([np.nan, 0.5]), np.array([np.nan, 0.001]), YES_NO)
    assert np.isnan([column[0] for column in got]).all()
    assert got.mean[1] == pytest.approx(0.5)
