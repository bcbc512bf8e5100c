"""Off-policy estimators and their intervals against published vectors, brute force and known truths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bandits import ope, sequence
from bandits.ope import Logged


def welch(control: tuple[float, float, int], treatment: tuple[float, float, int]) -> tuple[float, float, int]:
    """Relative lift, its variance times n, and n, from (sum, sum of squares, n), as GrowthBook's tests have them."""
    (mc, vc, nc), (mt, vt, nt) = (
        (s / n, (q - s * s / n) / (n - 1), n) for s, q, n in ((control), (treatment))
    )  # fmt: skip
    error2 = vt / (mc**2 * nt) + vc * mt**2 / (mc**4 * nc)
    return (mt - mc) / mc, error2 * (nc + nt), nc + nt


def test_the_confidence_sequence_is_growthbooks() -> None:
    # GrowthBook, TestSequentialTTest: N* = 1000, estimate .50336, interval (-.55844, 1.56516), error .33341.
    lift, variance, n = welch((1396.87, 52377.9767, 3000), (2422.7, 134698.29, 3461))
    half = sequence.halfwidth(variance, n, tightest=1000)
    assert lift == pytest.approx(0.5033611, abs=1e-7)
    assert math.sqrt(variance / n) == pytest.approx(0.3334122, abs=1e-7)
    assert (lift - half, lift + half) == pytest.approx((-0.5584405, 1.5651627), abs=1e-7)


def test_a_sequence_is_narrowest_around_its_chosen_size() -> None:
    ratio = {n: sequence.halfwidth(1.0, n) / (sequence.Z / math.sqrt(n)) for n in (50, 500, 5000, 50_000, 500_000)}
    assert min(ratio, key=lambda n: ratio[n]) == 5000
    assert all(value > 1.0 for value in ratio.values())


def test_a_sequence_holds_at_every_look() -> None:
    # Looked at after every row from 100 to 3,000, the fixed interval misses far more often than 5 %, the sequence
    # does not. 400 runs: a sequence that misses 5 % would show more than 36 misses with probability 1e-4.
    random = np.random.default_rng(5)
    n = np.arange(1, 3001)
    fixed = anytime = 0
    half = np.array([sequence.halfwidth(1.0, int(i)) for i in n])
    for _ in range(400):
        mean = np.abs(np.cumsum(random.standard_normal(n.size)) / n)[99:]
        fixed += bool((mean > sequence.Z / np.sqrt(n[99:])).any())
        anytime += bool((mean > half[99:]).any())
    assert anytime <= 36
    assert fixed > 100


def world(n: int, seed: int) -> tuple[Logged, float]:
    """A log of an uneven policy over 4 arms and 3 features, a target that differs from it, and the target's truth."""
    random = np.random.default_rng(seed)
    x = np.concatenate([np.ones((n, 1)), random.choice([0.0, 1.0], (n, 2))], axis=1)
    theta = np.array([[0.2, 0.1, 0.0], [0.1, 0.3, 0.1], [0.3, -0.1, 0.2], [0.05, 0.0, 0.5]])
    mean = x @ theta.T
    behaviour = np.array([0.4, 0.3, 0.2, 0.1])
    arm = random.choice(4, n, p=behaviour)
    reward = (random.random(n) < mean[np.arange(n), arm]).astype(np.float64)
    target = np.where(x[:, 1:2] > 0, [[0.1, 0.6, 0.2, 0.1]], [[0.1, 0.1, 0.4, 0.4]])
    # The four contexts are equally likely.
    grid = np.array([[1, a, b] for a in (0, 1) for b in (0, 1)], dtype=np.float64)
    chosen = np.where(grid[:, 1:2] > 0, [[0.1, 0.6, 0.2, 0.1]], [[0.1, 0.1, 0.4, 0.4]])
    truth = float((chosen * (grid @ theta.T)).sum(axis=1).mean())
    return Logged(arm, behaviour[arm], reward, x, target, np.arange(n) % ope.FOLDS), truth


def test_values_are_those_of_the_definitions() -> None:
    log, _ = world(3000, 1)
    found = {one.name: one for one in ope.estimates(log)}
    top = bottom = 0.0
    for i in range(log.arm.size):
        w = log.target[i, log.arm[i]] / log.propensity[i]
        top, bottom = top + w * log.reward[i], bottom + w
    assert found["IPS"].value == pytest.approx(top / 3000, rel=1e-12)
    assert found["SNIPS"].value == pytest.approx(top / bottom, rel=1e-12)
    w = ope.weights(log)
    error = math.sqrt(np.mean(w**2 * (log.reward - top / bottom) ** 2) / 3000) / w.mean()
    assert found["SNIPS"].error == pytest.approx(error, rel=1e-3)
    assert found["IPS"].error == pytest.approx(np.std(w * log.reward) / math.sqrt(3000), rel=1e-3)


def test_the_model_never_saw_the_row_it_judges() -> None:
    log, _ = world(600, 2)
    value, shown = ope.model(log)
    changed = log._replace(reward=np.where(log.fold == 1, 1.0 - log.reward, log.reward))
    again, shown_again = ope.model(changed)
    assert np.array_equal(value[log.fold == 1], again[log.fold == 1])
    assert np.array_equal(shown[log.fold == 1], shown_again[log.fold == 1])
    assert not np.array_equal(value[log.fold == 0], again[log.fold == 0])


def test_regression_is_ridge_towards_the_mean() -> None:
    random = np.random.default_rng(3)
    x = np.concatenate([np.ones((50, 1)), random.standard_normal((50, 2))], axis=1)
    reward, arm = random.random(50), np.arange(50) % 2
    theta = ope.regression(x, arm, reward, 3)
    prior = np.array([reward.mean(), 0.0, 0.0])
    assert np.allclose(theta[2], prior)
    own = x[arm == 1]
    direct = np.linalg.inv(own.T @ own + np.eye(3)) @ (own.T @ reward[arm == 1] + prior)
    assert np.allclose(theta[1], direct)


def test_intervals_cover_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ope, "_REPLICATES", 1)  # not judged here, and most of the time
    # 300 logs. A method that covers 95 % misses more than 31 of 300 with probability 1e-4, any of six 6e-4 in all.
    # The anytime ones must cover at least that often.
    missed: dict[tuple[str, str], int] = {}
    for seed in range(300):
        log, truth = world(600, 1000 + seed)
        for one in ope.estimates(log):
            if one.name != "DM":  # it says nothing of its error
                for kind, low, high in (("normal", one.low, one.high), ("any", one.any_low, one.any_high)):
                    at = (one.name, kind)
                    missed[at] = missed.get(at, 0) + (not low <= truth <= high)
    assert all(count <= 31 for count in missed.values()), missed
    assert all(missed[name, "any"] <= missed[name, "normal"] for name in ("IPS", "SNIPS", "DR"))


def test_doubly_robust_is_the_tightest_here() -> None:
    log, truth = world(20_000, 7)
    found = {one.name: one for one in ope.estimates(log)}
    assert found["DR"].error < found["SNIPS"].error < found["IPS"].error
    for name in ("IPS", "SNIPS", "DR"):
        assert abs(found[name].value - truth) < 4 * found[name].error


def test_the_bootstrap_agrees_with_the_normal_interval() -> None:
    log, _ = world(2000, 8)
    found = {one.name: one for one in ope.estimates(log)}
    assert math.isnan(found["DM"].error)
    assert math.isnan(found["DM"].low)
    for one in (found["IPS"], found["SNIPS"], found["DR"]):
        assert one.boot_low == pytest.approx(one.low, abs=0.4 * one.error)
        assert one.boot_high == pytest.approx(one.high, abs=0.4 * one.error)
    assert ope.estimates(log) == ope.estimates(log)  # seeded


def test_the_bootstrap_of_many_rows_goes_by_groups() -> None:
    random = np.random.default_rng(9)
    top = random.random(50_000)
    low, high = sequence.bootstrap(top, np.ones(50_000), 400, np.random.default_rng(1))
    error = top.std() / math.sqrt(50_000)
    assert (high - low) / (2 * sequence.Z * error) == pytest.approx(1.0, abs=0.15)


def test_folds_are_even_and_follow_no_rhythm() -> None:
    fold = ope.folds(30_000)
    assert np.array_equal(fold, ope.folds(30_000))
    assert np.bincount(fold).tolist() == [10_000] * 3
    for period in (2, 3, 6, 7):  # a share of 1/3 in each; five standard errors: false alarm 1e-5 over all
        for phase in range(period):
            mine = fold[phase::period]
            share = np.bincount(mine, minlength=3) / mine.size
            assert np.abs(share - 1 / 3).max() < 5 * math.sqrt(2 / 9 / mine.size)


def thin(propensity: list[float], target: list[float], n: int, seed: int = 0) -> Logged:
    """A context-free log of fixed propensities and a fixed target."""
    random = np.random.default_rng(seed)
    p = np.array(propensity)
    arm = random.choice(p.size, n, p=p)
    ones = np.ones((n, 1))
    return Logged(arm, p[arm], np.zeros(n), ones, np.tile(target, (n, 1)), np.arange(n) % ope.FOLDS)


@pytest.mark.parametrize(
    ("propensity", "target", "n", "reason"),
    [
        ([0.5, 0.5], [0.3, 0.7], 5000, ""),
        ([0.5, 0.5], [0.5, 0.5], 80, "80 rows is 80.0"),
        ([1.0, 0.0], [0.0, 1.0], 5000, "never shows"),
        ([1.0, 0.0], [0.8, 0.2], 5000, "fewer than 10 times"),
        ([0.9991, 0.0009], [0.8, 0.2], 9000, "fewer than 10 times"),
    ],
)
def test_thin_support_is_refused(propensity: list[float], target: list[float], n: int, reason: str) -> None:
    refused = ope.support(thin(propensity, target, n)).refused
    assert reason in refused
    assert bool(refused) == bool(reason)


def test_one_heavy_row_is_refused() -> None:
    log = thin([0.5, 0.5], [0.5, 0.5], 5000)
    log.propensity[0] = 0.5 / 500
    assert "one trial alone makes up 9%" in ope.support(log).refused


def test_propensities_that_cannot_be_true_are_refused() -> None:
    log = thin([0.5, 0.5], [0.3, 0.7], 5000)
    assert "weigh 0.8" in ope.support(log._replace(propensity=log.propensity * 1.2)).refused


def test_a_holdout_beside_the_policy_counts_by_what_it_is_worth() -> None:
    """Always the default: the policy seldom shows it, the holdout always. Either alone is worse than both."""
    rng, n = np.random.default_rng(3), 20_000
    held = rng.random(n) < 0.05
    arm = np.where(held | (rng.random(n) < 0.02), 0, 1)
    propensity = np.where(held, 1.0, np.where(arm == 0, 0.02, 0.98))
    reward = (rng.random(n) < np.where(arm == 0, 0.2, 0.6)).astype(float)
    log = ope.Logged(arm, propensity, reward, np.ones((n, 1)), np.tile([1.0, 0.0], (n, 1)), ope.folds(n))
    both = ope.pooled(log, held)
    alone = [ope.Logged(*(column[side] for column in log)) for side in (held, ~held)]  # type: ignore[arg-type]
    worth = [ope.support(one).ess for one in alone]
    assert ope.support(both).ess == pytest.approx(sum(worth), rel=0.01)  # exactly where both sides weigh 1 on average
    assert ope.support(log).ess < worth[0]  # row by row the policy's few heavy rows drown the holdout's
    assert ope.support(both).mean_weight == pytest.approx(1.0, abs=0.05)
    found = ope.estimates(both)[1]
    assert found.error < min(ope.estimates(one)[1].error for one in alone)
    assert abs(found.value - 0.2) < 4 * found.error
    assert ope.pooled(log, np.zeros(n, np.bool_)) is log
