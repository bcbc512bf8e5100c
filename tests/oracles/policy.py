"""Slow, obvious twins of the kernels in bandits/: definitions written down with scipy, one number at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, special, stats

from bandits.posterior import Sums

Floats = NDArray[np.float64]
MASK = 2**64 - 1


class Betas:
    """K Beta distributions at once."""

    def __init__(self, a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> None:
        self.law = stats.beta(np.array(a, dtype=float), np.array(b, dtype=float))

    def pdf(self, t: float) -> Floats:
        return np.asarray(self.law.pdf(t))

    def cdf(self, t: float) -> Floats:
        return np.asarray(self.law.cdf(t))

    def ppf(self, q: float) -> Floats:
        return np.asarray(self.law.ppf(q))

    def isf(self, q: float) -> Floats:
        return np.asarray(self.law.isf(q))


class Students:
    """K Student t distributions at once; normal above 200 degrees of freedom (inf included)."""

    def __init__(self, centre: Floats, scale: Floats, dof: Floats) -> None:
        self.normal = dof > 200
        self.gauss = stats.norm(centre, scale)
        self.heavy = stats.t(np.where(self.normal, 5.0, dof), centre, scale)

    def pdf(self, t: float) -> Floats:
        return np.asarray(np.where(self.normal, self.gauss.pdf(t), self.heavy.pdf(t)))

    def cdf(self, t: float) -> Floats:
        return np.asarray(np.where(self.normal, self.gauss.cdf(t), self.heavy.cdf(t)))

    def ppf(self, q: float) -> Floats:
        return np.asarray(np.where(self.normal, self.gauss.ppf(q), self.heavy.ppf(q)))

    def isf(self, q: float) -> Floats:
        return np.asarray(np.where(self.normal, self.gauss.isf(q), self.heavy.isf(q)))


Laws = Betas | Students


def greatest(laws: Laws) -> tuple[Floats, float]:
    """P(each is the greatest) and E[max] by adaptive quadrature, restarted at many quantiles of every law."""
    tails = [1e-13, 1e-10, 1e-7, 1e-4, 1e-2, 0.15, 0.5]
    points = np.unique(np.concatenate([f(q) for q in tails for f in (laws.ppf, laws.isf)]))

    def integrand(t: float) -> Floats:
        cdf, pdf = laws.cdf(t), laws.pdf(t)
        p = [pdf[k] * np.prod(np.delete(cdf, k)) for k in range(len(pdf))]
        return np.array([*p, t * sum(p)])

    ends = (float(points[0]), float(points[-1]))
    value, _ = integrate.quad_vec(integrand, *ends, points=points[1:-1], epsabs=1e-13, epsrel=1e-13, norm="max")
    return value[:-1], float(value[-1])


def greatest_student(centre: Floats, scale: Floats, dof: Floats, apart: float = 0.25) -> Floats:
    """P(each is the greatest) of Student t laws of any width: ten Gauss nodes between all neighbours among the points of all
    laws, which lie `apart` near a centre, in scales, and further out in proportion, to where 1e-14 is left.
    """
    laws, least = Students(centre, scale, dof), np.full(len(dof), 1e-14)
    far = np.arcsinh((np.minimum(laws.isf(least), np.finfo(float).max) - centre) / scale)  # type: ignore[arg-type]
    steps = [np.linspace(-end, end, 2 * int(np.ceil(end / apart)) + 1) for end in far]
    points = np.unique(np.concatenate([m + s * np.sinh(v) for m, s, v in zip(centre, scale, steps, strict=True)]))
    x, w = np.polynomial.legendre.leggauss(10)
    half = np.diff(points) / 2
    t = (points[:-1] + half)[:, None] + half[:, None] * x
    z, heavy = [(t - m) / s for m, s in zip(centre, scale, strict=True)], np.where(dof > 200, 5.0, dof)
    pdf = [
        np.where(d > 200, stats.norm.pdf(v), stats.t.pdf(v, h)) / s
        for v, d, h, s in zip(z, dof, heavy, scale, strict=True)
    ]
    cdf = np.array(
        [np.where(d > 200, special.ndtr(v), special.stdtr(h, v)) for v, d, h in zip(z, dof, heavy, strict=True)]
    )
    others = [np.prod(np.delete(cdf, k, axis=0), axis=0) for k in range(len(dof))]
    return np.array([(half[:, None] * w * f * rest).sum() for f, rest in zip(pdf, others, strict=True)])


def log_beta(a: float, b: float) -> float:
    """ln B(a, b)."""
    return float(special.betaln(a, b))


def shares(centre: Floats, width: Floats, grid: Floats) -> Floats:
    """Share of grid points at which each line is the highest, ties split."""
    out = np.zeros(len(centre))
    for z in grid:
        score = [m + z * w for m, w in zip(centre, width, strict=True)]
        winners = [k for k, s in enumerate(score) if s == max(score)]
        out[winners] += 1.0 / len(winners) / len(grid)
    return out


def ridge(sums: Sums, k: int, weight: float, m0: float) -> tuple[Floats, Floats]:
    """Coefficients and inverse precision of one arm's regression."""
    precision = sums.xx[k] + weight * np.eye(sums.xr.shape[1])
    prior = np.eye(sums.xr.shape[1])[0] * weight * m0
    inverse = np.linalg.inv(precision)
    return inverse @ (sums.xr[k] + prior), inverse


def left(sums: Sums, k: int, weight: float, m0: float) -> float:
    """What one arm's regression leaves of its squares, and what its prior takes."""
    theta, _ = ridge(sums, k, weight, m0)
    residual = sums.s2[k] - 2 * theta @ sums.xr[k] + theta @ sums.xx[k] @ theta
    away = theta - np.eye(len(theta))[0] * m0
    return float(residual + weight * away @ away)


def unseen(sums: Sums) -> float:
    """The variance of a trial before it is seen."""
    n, c, s1, s2 = (float(column.sum()) for column in sums[:4])
    if c == 0:
        return 0.25
    value, spread = s1 / c, s2 / c - (s1 / c) ** 2
    unrewarded = (n - c + 0.5) / (n + 1) if spread > 1e-10 * value**2 else 1.0
    return spread + 0.25 * unrewarded * value**2


def noise(sums: Sums) -> float:
    """The pooled noise: two trials that nobody has seen before those that were."""
    n, _, s1, s2 = (float(column.sum()) for column in sums[:4])
    return float(np.sqrt((s2 - s1 * s1 / n + 2 * unseen(sums)) / (n + 2)))


def floored(p: Floats, floor: float) -> Floats:
    """The pmf with `floor` of its mass spread evenly."""
    return (1 - floor) * p + floor / len(p)


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(salt: int, unit: int, number: int) -> float:
    """The draw's uniform, in Python's integers."""
    step = 0x9E3779B97F4A7C15
    start = _mix((unit + _mix((salt + step) & MASK)) & MASK)
    return ((_mix((start + step * (number + 1)) & MASK) >> 11) + 1) * 2.0**-53


def draw(p: Floats, arms: Sequence[int], unit: int, salt: int) -> int:
    """Position of the arm with the least e_k / p_k."""
    finish = [-np.log(uniform(salt, unit, k)) / q if q > 0 else np.inf for k, q in zip(arms, p, strict=True)]
    return int(np.argmin(finish))


def sums_of(x: Floats, arm: NDArray[np.int64], reward: Floats, arms: int) -> Sums:
    """The sums of some trials: x f8[N,d], arm i8[N], reward f8[N]."""
    own = [arm == k for k in range(arms)]
    return Sums(
        np.array([float(o.sum()) for o in own]),
        np.array([float((reward[o] != 0).sum()) for o in own]),
        np.array([reward[o].sum() for o in own]),
        np.array([(reward[o] ** 2).sum() for o in own]),
        np.array([x[o].T @ x[o] for o in own]),
        np.array([x[o].T @ reward[o] for o in own]),
    )


def counts(n: Sequence[float] | Floats, rewarded: Sequence[float] | Floats) -> Sums:
    """Sums of trials with reward 0 or 1 and no features."""
    n, r = np.array(n, dtype=float), np.array(rewarded, dtype=float)
    return Sums(n, r, r.copy(), r.copy(), n[:, None, None].copy(), r[:, None].copy())


def world(seed: int, arms: int = 4, columns: int = 6, trials: int = 400) -> tuple[Sums, NDArray[np.int16]]:
    """Sums of made-up trials with some one-hot and some numeric columns, and the feature cells i2[N,d]."""
    rng = np.random.default_rng(seed)
    cells = np.zeros((trials, columns), np.int16)
    cells[:, 0] = 4096
    half = max(1, columns // 2)
    if columns > 1:
        cells[np.arange(trials), rng.integers(1, half + 1, trials)] = 4096
        cells[:, half + 1 :] = rng.integers(-4096, 4097, (trials, columns - half - 1))
    x = cells / 4096.0
    arm = rng.integers(0, arms, trials)
    slope = rng.normal(size=(arms, columns)) * 0.2
    reward = np.clip(np.einsum("nd,nd->n", slope[arm], x) + rng.normal(size=trials) * 0.2, -1, 1)
    return sums_of(x, arm, np.round(reward * 32767) / 32767, arms), cells


def inverse_gaps(mean: Floats, gamma: float) -> Floats:
    """SquareCB's pmf; ties share what is left for the best."""
    best = np.flatnonzero(mean == mean.max())
    p = 1.0 / (len(mean) + gamma * (mean.max() - mean))
    p[best] = 0.0
    p[best] = (1.0 - p.sum()) / len(best)
    return np.asarray(p, dtype=np.float64)


def expand(row: Sequence[int], place: Sequence[int], terms: Sequence[Sequence[int]], columns: int) -> list[int]:
    """Learning columns of one row of main columns, in Python's integers."""
    out = [0] * columns
    for j, value in enumerate(row):
        out[place[j]] = int(value)
    for target, i, j, sign in terms:
        out[target] += sign * ((int(row[i]) * int(row[j]) + 2048) // 4096)
    return [min(max(value, -32767), 32767) for value in out]


def spread(n: Sequence[float], won: Sequence[float]) -> float:
    """Trials that the prior of an arm of rate counts for: its deviation is the common mean, or reaches the best arm."""
    rate = sum(won) / sum(n)
    if rate == 0.0:
        return 1.0
    seen = [(k, s) for k, s in zip(n, won, strict=True) if k > 0]
    mean = sum(s / (k + 1) for k, s in seen) / sum(k / (k + 1) for k, _ in seen)
    near = max(1.0, rate * (1 - rate) / mean**2)
    ahead = max((s + near * mean) / (k + near) for k, s in seen) - mean
    return max(1.0, rate * (1 - rate) / max(mean, ahead) ** 2)


def deviance(sums: Sums, prior: Floats) -> float:
    """-2 ln of the evidence with the noise integrated out, at the likeliest common constant (found by a search)."""
    arms, d = sums.xr.shape
    seen = [k for k in range(arms) if sums.n[k] > 0]
    n, total = sums.n.sum(), sums.s2.sum()
    small = 1e-3 * (total - sums.s1.sum() ** 2 / n) + 1e-12

    def left(m: float) -> float:
        out, mean = total, m * np.eye(d)[0]
        for k in seen:
            right = sums.xr[k] + prior * mean
            out += mean @ (prior * mean) - right @ np.linalg.solve(sums.xx[k] + np.diag(prior), right)
        return float(out)

    best = optimize.minimize_scalar(left, bracket=(-1.0, 1.0), tol=1e-12)
    logs = sum(np.linalg.slogdet(sums.xx[k] + np.diag(prior))[1] - np.log(prior).sum() for k in seen)
    return float(n * np.log((best.fun + small) / n) + logs)


def optimist(m: Floats, v: Floats, least: Floats, noise: float, heat: float) -> Floats:
    """The pmf of `auto` from means, variances, least chances, noise and temperature."""
    score = m + np.sqrt(v)
    p = np.exp(-((score.max() - score) ** 2) / (2 * heat**2 * v))
    p /= p.sum()
    floor = least / (1.0 + ((m.max() - m) ** 2 / noise) ** 2)
    rest = np.maximum(p - floor, 0.0)
    return np.asarray(floor + (1.0 - floor.sum()) * rest / rest.sum(), dtype=np.float64)
