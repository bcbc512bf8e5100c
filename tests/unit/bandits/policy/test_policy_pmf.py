"""The pmfs against published numbers and against adaptive quadrature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from bandits import normals
from bandits.policy import POLICIES, probabilities
from bandits.posterior import Kind, Posterior, pack
from tests.oracles import policy as oracle

Floats = NDArray[np.float64]
NO_X = np.ones(1)
ZOZO = json.loads((Path(__file__).parents[3] / "data/zozo_prior.json").read_text())


def every(post: Posterior) -> NDArray[np.int64]:
    return np.arange(len(post.par), dtype=np.int64)


def beta_pmf(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> Floats:
    rewarded, n = np.array(a) - 1.0, np.array(a) + np.array(b) - 2.0
    arms = np.arange(len(n))
    post = POLICIES["beta"].derive(oracle.counts(n, rewarded), {"floor": 0.0}, arms)
    assert np.allclose(post.par[:, 0], a)
    assert np.allclose(post.par[:, 1], b)
    return probabilities(post, NO_X, arms)


def student_pmf(centre: Floats, scale: Floats, dof: Floats) -> Floats:
    par = np.stack([centre, scale, dof], axis=1)
    cov = (scale**2)[:, None, None]
    post = pack(Kind.NIG, par, centre[:, None].copy(), cov, dof.copy(), 0.0, np.zeros(0), 0.0)
    return probabilities(post, NO_X, every(post))


def beta_rows(rows: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    a, b = np.array(rows, dtype=float).T
    return a, b


# algorithms.md A10; the third with Beta(1, 1) priors. Published: six digits, or the exact value by quadrature.
REFERENCE: Mapping[str, tuple[list[tuple[float, float]], list[float], float]] = {
    "stitchfix documentation": (
        [(1989, 21290), (40, 474), (64, 730), (71, 818), (52, 659), (59, 718)],
        [0.296261, 0.176030, 0.203381, 0.169030, 0.061376, 0.093923],
        5.1e-7,
    ),
    "stitchfix test, where it is off by 5e-4": (
        [(100, 50), (30, 100), (5, 5), (10, 5), (20, 200)],
        [0.413338, 0.0, 0.098453, 0.488209, 0.0],
        5.1e-7,
    ),
    "three rates": (
        [(442, 73297), (286, 88114), (1069, 204167)],
        [0.993009, 8.9e-20, 0.006991],
        5.1e-7,
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_beta_reference_vectors(name: str) -> None:
    rows, published, digits = REFERENCE[name]
    a, b = beta_rows(rows)
    p = beta_pmf(a, b)
    assert p == pytest.approx(published, abs=digits)
    assert p == pytest.approx(oracle.greatest(oracle.Betas(a, b))[0], abs=1e-10)


def test_beta_tail_probabilities_are_relatively_exact() -> None:
    p = beta_pmf(*beta_rows(REFERENCE["three rates"][0]))
    assert p[1] == pytest.approx(8.9003e-20, rel=1e-4)  # the R package printed 2.4e-15


def test_normal_reference_vector() -> None:
    centre, scale = np.array([1, 0.8, 2, -1.5, 0, 4]), np.array([0.5, 0.44, 4.5, 0.8, 0.8, 0.01])
    p = student_pmf(centre, scale, np.full(6, np.inf))
    assert p[[2, 5]] == pytest.approx([0.328361, 0.671639], abs=5.1e-7)
    assert p == pytest.approx(oracle.greatest(oracle.Students(centre, scale, np.full(6, np.inf)))[0], abs=1e-9)


def test_zozotown_prior_exact() -> None:
    p = beta_pmf(ZOZO["alpha"], ZOZO["beta"])
    assert p[:3] == pytest.approx([0.01087, 0.00166, 0.00556], abs=5.1e-6)
    assert p[-3:] == pytest.approx([0.00092, 0.00670, 0.05805], abs=5.1e-6)
    assert int(np.argmax(p)) == 61
    assert p[61] == pytest.approx(0.198288, abs=5.1e-7)


def test_zozotown_prior_against_the_published_simulation() -> None:
    """The notebook's first position, reproduced to its last digit from its seed; ours within 3 standard errors."""
    n = 100_000
    draws = np.random.RandomState(12345).beta(ZOZO["alpha"], ZOZO["beta"], size=(n, 80))
    simulated = np.bincount(draws.argmax(axis=1), minlength=80) / n
    assert simulated[:3].tolist() == [0.01078, 0.00167, 0.0058]
    assert simulated[-3:].tolist() == [0.0008, 0.00689, 0.0582]
    exact = beta_pmf(ZOZO["alpha"], ZOZO["beta"])
    error = np.sqrt(exact * (1 - exact) / n)
    # 80 arms: one beyond 3 standard errors is what chance gives; the published six are all within.
    assert (np.abs(simulated - exact) < 3 * error)[[0, 1, 2, 77, 78, 79]].all()
    assert (np.abs(simulated - exact) > 3 * error).sum() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_beta_of_very_different_widths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(0.5, 5, 5)
    mean = rng.uniform(0.3, 0.5, 5)
    a, b = size * mean, size * (1 - mean)  # fractional counts
    assert beta_pmf(a + 1, b + 1) == pytest.approx(oracle.greatest(oracle.Betas(a + 1, b + 1))[0], abs=1e-10)


def test_beta_of_a_new_arm_beside_old_ones() -> None:
    """Where one panel over the whole range is wrong by 0.036."""
    a, b = beta_rows([(1, 1), (2000, 4000), (1999, 3999)])
    assert beta_pmf(a, b) == pytest.approx(oracle.greatest(oracle.Betas(a, b))[0], abs=1e-10)


def test_beta_two_hundred_arms_a_billion_trials() -> None:
    assert beta_pmf(np.full(200, 1e9), np.full(200, 1e9)) == pytest.approx(np.full(200, 1 / 200), abs=1e-13)
    # Beta at 1e9 is normal to 1e-5: the closed form for two normals.
    gap, spread = 2e-5, np.sqrt(2 * 0.25 / 2e9)
    p = beta_pmf(np.array([1e9 * (1 + 2 * gap), 1e9]), np.array([1e9 * (1 - 2 * gap), 1e9]))
    assert p[0] == pytest.approx(float(stats.norm.cdf(gap / spread)), abs=1e-6)


def test_beta_priors_below_one() -> None:
    post = POLICIES["beta"].derive(
        oracle.counts([3, 0, 10], [0, 0, 9]), {"prior_a": 0.3, "prior_b": 0.2, "floor": 0.0}, np.arange(3)
    )
    exact = on_logit_grid([(0.3, 3.2), (0.3, 0.2), (9.3, 1.2)])
    assert probabilities(post, NO_X, np.arange(3)) == pytest.approx(exact, abs=1e-8)


def on_logit_grid(rows: list[tuple[float, float]]) -> Floats:
    """P(greatest) of Betas on the logit axis, where densities with a < 1 have no poles; 400,000 equal steps."""
    t = np.linspace(-200.0, 200.0, 400_001)
    theta, rest = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t))
    f = np.array([np.exp(p * np.log(theta) + q * np.log(rest) - oracle.log_beta(p, q)) for p, q in rows])
    F = np.array([np.where(t < 0, stats.beta(p, q).cdf(theta), stats.beta(q, p).sf(rest)) for p, q in rows])
    step = t[1] - t[0]
    return np.array([(f[k] * np.prod(np.delete(F, k, axis=0), axis=0)).sum() * step for k in range(len(rows))])


@st.composite
def students(draw: st.DrawFn) -> tuple[Floats, Floats, Floats]:
    """Centres, scales, degrees of freedom: alike, apart, tied, heavy-tailed, all normal, of very different widths, huge and tiny."""
    n, unit = draw(st.integers(2, 6)), 10.0 ** draw(st.sampled_from([-100, -6, 0, 6, 100]))
    apart, spread = draw(st.sampled_from([0.0, 1.0, 30.0])), draw(st.sampled_from([0.0, 0.3, 1.5]))
    any_dof = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 200.0, np.inf]), st.floats(1.0, 300.0))
    dof = draw(st.sampled_from([any_dof, st.sampled_from([np.inf, 201.0])]))
    row = st.tuples(st.floats(-apart, apart), st.floats(-spread, spread), dof)
    rows = draw(st.lists(row, min_size=n, max_size=n))
    rows += rows[: draw(st.integers(0, 2))]
    centre, width, freedom = np.array(rows).T
    return centre * unit, 10.0**width * unit, freedom


@settings(max_examples=60, deadline=None)
@given(students())
def test_student_against_the_slow_twin(laws: tuple[Floats, Floats, Floats]) -> None:
    exact = oracle.greatest_student(*laws)
    assert exact.sum() == pytest.approx(1.0, abs=1e-10)
    p = student_pmf(*laws)
    assert p == pytest.approx(exact, abs=1e-9)
    assert p.sum() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize(("dof", "spread"), [(4.0, 0.5), (60.0, 0.5), (np.inf, 0.5), (np.inf, 0.1), (np.inf, 0.0)])
def test_student_two_hundred_arms(dof: float, spread: float) -> None:
    rng = np.random.default_rng(3)
    centre, scale = np.repeat(rng.normal(size=20), 10), np.repeat(10.0 ** rng.uniform(-spread, spread, 20), 10)
    laws = centre, scale, np.full(200, dof)
    assert student_pmf(*laws) == pytest.approx(oracle.greatest_student(*laws, apart=1.0), abs=1e-9)


def test_students_far_narrower_than_their_place() -> None:
    """Where t itself has not the digits to tell one end of a density from the other."""
    dof, tiny = np.array([9.0, np.inf, 4.0]), np.array([1e-30, 1e-40, 1e-20])
    assert student_pmf(np.full(3, 0.3), tiny, np.full(3, 5.0))[2] == pytest.approx(0.5, abs=1e-9)
    assert student_pmf(np.array([0.3, 0.3 + 1e-15, 0.1]), tiny, dof) == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)
    assert student_pmf(np.array([7.0, 6.0, 8.0]), np.full(3, 1e-150), dof) == pytest.approx([0.0, 0.0, 1.0], abs=1e-9)
    above = stats.t(4.0).sf(0.2)  # of the wide one, above the step that the other two are
    p = student_pmf(np.array([0.3, 0.3, 0.1]), np.array([1e-30, 1e-30, 1.0]), np.array([9.0, 9.0, 4.0]))
    assert p == pytest.approx([0.5 * (1.0 - above), 0.5 * (1.0 - above), above], abs=1e-9)


@pytest.mark.parametrize("arms", [2, 3, 5, 10, 30, 100])
def test_the_greatest_of_many_alike_is_narrow(arms: int) -> None:
    """Where points at even distances have the most to lose: one arm among others of one centre, in all places."""
    for above in np.linspace(-1.0, 4.0, 6):
        laws = np.append(np.zeros(arms - 1), above), np.ones(arms), np.full(arms, np.inf)
        assert student_pmf(*laws) == pytest.approx(oracle.greatest_student(*laws), abs=1e-10)


def test_the_normal_distribution_function_and_density_over_it() -> None:
    z = np.linspace(-36.0, 36.0, 7201)
    work, hazard, below = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    normals.distributions(z, work, work.view(np.int64), hazard, below)
    assert below == pytest.approx(special.ndtr(z), abs=1e-13)
    assert hazard * below == pytest.approx(np.exp(-0.5 * z**2), rel=1e-11)


def test_student_identical_arms_share() -> None:
    assert student_pmf(np.zeros(7), np.ones(7), np.full(7, 4.0)) == pytest.approx(np.full(7, 1 / 7), abs=1e-12)
    p = student_pmf(np.array([0.0, 0.0]), np.array([1.0, 1e6]), np.array([4.0, 4.0]))
    assert p == pytest.approx([0.5, 0.5], abs=1e-9)


def test_dominated_arms_are_small() -> None:
    p = student_pmf(np.array([0.0, -1.0, 1.0]), np.full(3, 0.01), np.full(3, 50.0))
    assert p == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)
    assert beta_pmf([900, 100], [100, 900])[1] < 1e-100
