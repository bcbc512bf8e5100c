"""A hidden Markov chain over time buckets: a value that stays, or jumps, and is seen through what was earned.

The value is one of G. Before bucket b it jumps with the probability hop_b, to a value drawn from `ends`; a bucket
tells `like` of each value, scaled so that the likeliest has 1, with the logarithm of what was divided by in `top`.
Forward and backward passes as in Rabiner (1989), each step O(G) as all jumps end alike.
"""

from __future__ import annotations

import math

import numpy as np

from bandits._jit import FLOATS, FLOATS2, FLOATS2_OUT, FLOATS_OUT, INT, entry, jit
from bandits.posterior import Floats


@jit
def _step(like: Floats, hop: float, ends: Floats, before: Floats, out: Floats) -> float:
    """One bucket on: out f8[G] is the belief after it, from that before. Returns the likelihood of what it tells."""
    total = 0.0
    for g in range(out.shape[0]):
        out[g] = ((1.0 - hop) * before[g] + hop * ends[g]) * like[g]
        total += out[g]
    for g in range(out.shape[0]):
        out[g] /= total
    return total


@entry(FLOATS2, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS_OUT, FLOATS_OUT, nogil=True)
def forward(like: Floats, top: Floats, hop: Floats, ends: Floats, start: Floats, now: Floats, steps: Floats) -> None:
    """Fill now (f8[G]) with the belief after the last bucket, steps (f8[B]) with each bucket's log likelihood, given those before.

    like f8[B,G], top f8[B], hop f8[B]; ends and start f8[G]: where jumps end, and the belief before the first bucket.
    """
    after = np.empty(now.shape[0])
    # Value by value here: an assignment of a whole array brings Numba's words for its failure, three seconds to compile.
    for g in range(now.shape[0]):
        now[g] = start[g]
    for b in range(like.shape[0]):
        steps[b] = top[b] + math.log(_step(like[b], hop[b] if b > 0 else 0.0, ends, now, after))
        for g in range(now.shape[0]):
            now[g] = after[g]


@entry(FLOATS2, FLOATS, FLOATS, FLOATS, INT, FLOATS2_OUT, FLOATS_OUT, nogil=True)
def smooth(like: Floats, hop: Floats, ends: Floats, start: Floats, near: int, belief: Floats, same: Floats) -> None:
    """Fill belief (f8[B,G]) with P(value in b), and same (f8[B]) with P(value in b = that in the last), given all.

    Values count as the same up to `near` places apart: what lies between two of a grid is told as either.

    `now_and[i, g]` is the joint probability of the value i in b and g in the last bucket: going back a bucket, a value
    i came to j = i by staying or a jump, and to any other j by a jump.
    """
    buckets, values = like.shape
    ahead, first = np.empty((buckets, values)), start.copy()
    for b in range(buckets):
        _step(like[b], hop[b] if b > 0 else 0.0, ends, ahead[b - 1] if b > 0 else first, ahead[b])
    now_and = np.zeros((values, values))
    jumped = np.empty(values)
    for g in range(values):
        now_and[g, g] = ahead[buckets - 1, g]
    for b in range(buckets - 1, -1, -1):
        if b < buckets - 1:
            h = hop[b + 1]
            jumped[:] = 0.0
            for j in range(values):
                reached = (1.0 - h) * ahead[b, j] + h * ends[j]
                for g in range(values):
                    jumped[g] += h * ends[j] / reached * now_and[j, g]
            for i in range(values):
                stayed = (1.0 - h) * ahead[b, i] / ((1.0 - h) * ahead[b, i] + h * ends[i])
                for g in range(values):
                    now_and[i, g] = stayed * now_and[i, g] + ahead[b, i] * jumped[g]
        same[b] = 0.0
        for i in range(values):
            belief[b, i] = 0.0
            for g in range(values):
                belief[b, i] += now_and[i, g]
            for g in range(max(i - near, 0), min(i + near + 1, values)):
                same[b] += now_and[i, g]
