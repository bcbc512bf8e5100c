"""When there is little left to find out: what showing the leader for good is expected to cost, and what may still be won.

Both are parts of what the leader earns, under the beliefs of bandits/summary.py, which take arms of one experiment for alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.summary import Seen, Span, Summary, families, net, shapes

LOSS = 0.01  # expected loss of the leader, in parts of its mean, below which it may be shown for good
DRAWS = 1000
_SEED = 20_260_101


class Verdict(NamedTuple):
    """Of a segment; nan where the leader is not believed to earn anything."""

    leader: int  # its place among the arms
    loss: float  # expected, of the leader's mean
    remaining: float  # with 95 % no more than so much of the leader's mean can be won by another arm
    settled: bool  # loss is below LOSS


def verdict(given: Seen, span: Span, arms: NDArray[np.int64], said: Summary) -> Verdict:
    """`said` is the summary of the same. The draws are always the same ones."""
    leader = int(said.loss.argmin())
    loss = relative_loss(said)
    if math.isnan(loss):
        return Verdict(leader, loss, math.nan, False)
    rng, own, span = np.random.default_rng(_SEED), shapes(given, span)[arms], net(given, span)
    worth = [
        span.low + (span.high - span.low) * rng.beta(shape[:, 0], shape[:, 1], (math.ceil(DRAWS * weight), len(arms)))
        for weight, shape in families(own)
    ]
    drawn = np.concatenate(worth)
    gain = np.quantile(drawn.max(axis=1) - drawn[:, leader], 0.95)
    return Verdict(leader, loss, float(gain / said.mean[leader]), loss < LOSS)


def relative_loss(said: Summary) -> float:
    """The leader's expected loss in parts of its mean; nan where that is nothing or less."""
    leader = int(said.loss.argmin())
    mean = float(said.mean[leader])
    return float(said.loss[leader]) / mean if mean > 0.0 else math.nan
