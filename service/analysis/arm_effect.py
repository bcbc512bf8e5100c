"""What each arm earns over the default arm, from logged propensities: true whatever the policy did, at any time.

Mixture adaptive design (Liang and Bojinov, arXiv 2311.05794): a policy that gives every arm a known share of the draws lets each
be compared by trials weighed with 1 / propensity. An arm's least share falls as it proves worse, so the effect of a bad arm soon stops
getting narrower; `evidence: more` keeps more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.cells import POLICY, REWARDED, SQUARE_HIGH, SQUARE_LOW, count_offset
from service.analysis.costs import costs_of
from service.learning.replica import Replica

Ints = NDArray[np.int64]
_SELDOM = "shown too seldom of late, this arm or the default"


@dataclass(frozen=True, slots=True)
class ArmEffect:
    """An arm against the default arm; the fields are those of the message (experiment.proto)."""

    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p_value: float


def arm_effect(replica: Replica, segment: int, arm: int, counts: Ints) -> ArmEffect | None:
    """None for the default arm. counts [arms, .] are the segment's, over all time."""
    experiment = replica.experiment
    if arm == experiment.default_arm:
        return None
    drawn = replica.state.subjects.drawn(segment, arm)
    metric = experiment.primary
    sums = effect.Sums(drawn.weight, drawn.total * (metric.scale / replica.state.grid.one))
    total = counts.sum(axis=0)
    at = count_offset(metric.number, POLICY)
    trials, rewarded = float(total[POLICY]), float(total[at + REWARDED])
    squares = (float(total[at + SQUARE_HIGH]) * 2.0**32 + float(total[at + SQUARE_LOW])) * metric.unit**2
    early = "" if effect.supported(sums, drawn.squares, rewarded / max(trials, 1.0)) else _lacking(sums)
    costs = costs_of(experiment, metric)[[arm, experiment.default_arm]]
    left = sums._replace(total=sums.total - costs[:, None] * sums.weight) if costs.any() else sums
    found = effect.NONE if early else effect.compare(left, effect.usual(trials, rewarded, squares))
    span = metric.maximum - metric.minimum + float(abs(costs[0] - costs[1]))
    if found.low <= -span and found.high >= span:  # anything is possible: nothing is known
        early, found = _SELDOM, effect.NONE
    found = effect.within(found, span)
    return ArmEffect(
        early, found.difference, found.error, found.low, found.high, found.relative, found.relative_low,
        found.relative_high, found.p,
    )  # fmt: skip


def _lacking(sums: effect.Sums) -> str:
    if effect.known(sums):
        return _SELDOM
    return f"rewards came from {effect.earning(sums)} groups of subjects, {effect.BUCKETS} are needed"
