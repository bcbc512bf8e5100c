"""Slow, obvious twins of what is remembered: paths one by one, sums over all of them, plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def oracle_paths(like: Floats, hop: Floats, ends: Floats, start: Floats, near: int) -> tuple[float, Floats, Floats]:
    """(evidence, belief [B,G], same [B]) of a chain by summing over every path of values, G^B of them; see chain.smooth."""
    buckets, values = like.shape
    belief, same, total = np.zeros((buckets, values)), np.zeros(buckets), 0.0
    for path in itertools.product(range(values), repeat=buckets):
        p = start[path[0]] * like[0, path[0]]
        for b in range(1, buckets):
            moved = hop[b] * ends[path[b]] + (1.0 - hop[b]) * (path[b] == path[b - 1])
            p *= moved * like[b, path[b]]
        total += p
        for b, g in enumerate(path):
            belief[b, g] += p
            same[b] += p * (abs(g - path[-1]) <= near)
    return math.log(total), belief / total, same / total


def oracle_curve(delays: list[list[int]], least: list[int]) -> list[float]:
    """Share of rewards that come within each edge of the bins, by the product over later bins."""
    edges = [0, *(16 << j for j in range(32))]
    out = [0.0]
    for upto in range(1, 33):
        share = 1.0
        for j in range(upto, 32):
            old = [row for row, age in zip(delays, least, strict=True) if age >= edges[j + 1]]
            here, within = sum(row[j] for row in old), sum(sum(row[: j + 1]) for row in old)
            if here:
                share *= max(1.0 - here / within, 1e-4)
        out.append(share)
    return out


def oracle_come(start: int, end: int, now: int, share: list[float]) -> float:
    """Share of a bucket's rewards that has come, at eight moments of it."""
    edges = [0.0, *(float(16 << j) for j in range(32))]
    end = min(end, now)
    moments = [start + (i + 0.5) / 8 * max(end - start, 1) for i in range(8)]
    found = [float(np.interp(max(now - t, 0.0), edges, share)) for t in moments]
    return min(max(sum(found) / 8, 0.02), 1.0)


def oracle_expected(x: Floats, n: Floats, held: Floats, theta: Floats, least: float) -> Floats:
    """[B,K] expected rewards of n + held trials."""
    out, mean = np.zeros(n.shape), np.zeros(x.shape[2])
    for b in range(len(n)):
        if n[b].sum() > 0:
            mean = x[b].sum(axis=0) / n[b].sum()
        for k in range(n.shape[1]):
            out[b, k] = max(float(theta[k] @ x[b, k]), least * n[b, k]) + held[b, k] * max(
                float(theta[k] @ mean), least
            )
    return out


def oracle_evidence(x: Floats, r: Floats, prior: Floats, mean: float) -> tuple[float, float]:
    """(Q, ln|S + D| - ln|D|) by the rewards themselves, normal with the covariance 1 + X D^-1 X' about what the constant expects."""
    rows, rewards = x.reshape(-1, x.shape[-1]), r.ravel()
    spread = np.eye(len(rewards)) + rows @ np.diag(1.0 / prior) @ rows.T
    left = rewards - mean * rows[:, 0]
    return float(left @ np.linalg.solve(spread, left)), float(np.linalg.slogdet(spread)[1])
