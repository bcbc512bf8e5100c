"""What the policy was worth: its subjects against those of the holdout, in numbers and in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.cells import HELD, POLICY, REWARDED, SQUARE_HIGH, SQUARE_LOW, count_offset
from service.analysis.costs import counts_since, sides
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.learning.replica import Replica

MISMATCH = 0.001  # a p-value of the sample ratio below this is told
SUGGESTED = 0.05

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BucketSums:
    """By bucket of subjects, 256 numbers each."""

    policy_trials: list[int]
    policy_reward_sums: list[float]
    holdout_trials: list[int]
    holdout_reward_sums: list[float]


@dataclass(frozen=True, slots=True)
class Lift:
    """Policy against holdout under one metric; the fields are those of the message (experiment.proto)."""

    metric: str
    segment: str
    policy_trials: int
    policy_reward_sum: float
    holdout_trials: int
    holdout_reward_sum: float
    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    relative: float
    relative_standard_error: float
    relative_low: float
    relative_high: float
    p_value: float
    fixed_low: float
    fixed_high: float
    incremental: float
    incremental_standard_error: float
    from_ms: int
    to_ms: int
    buckets: BucketSums | None


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The holdout's share of trials beside its share of subjects."""

    expected: float
    observed: float
    p_value: float
    mismatch: bool


def lifts(replica: Replica) -> tuple[Lift, ...]:
    """Every metric over all segments, the primary one first, then in each segment that has a holdout."""
    experiment, cells = replica.experiment, replica.state.subjects.lift
    span = _from(replica), replica.touched
    apart = []
    for s in range(len(cells)):
        if cells[s, HELD, 0].any() and len(cells) > 1:
            counts, began = replica.state.lifetime(s), counts_since(replica, s, span[0])
            costs = [sides(experiment, metric, began) for metric in _metrics(experiment)]
            apart += [
                lift_of(metric, experiment.segments.ids[s], cells[s], counts, span, cost)
                for metric, cost in zip(_metrics(experiment), costs, strict=True)
            ]
    return (*whole(replica)(), *apart)


def whole(replica: Replica) -> Callable[[], tuple[Lift, ...]]:
    """What makes the lift of every metric over all segments, of sums that are copied now."""
    state, cells = replica.state, replica.state.subjects.lift
    if not cells[:, HELD, 0].any():
        return tuple
    metrics, span, summed = _metrics(replica.experiment), (_from(replica), replica.touched), cells.sum(axis=0)
    counts = sum((state.lifetime(s) for s in range(1, len(cells))), state.lifetime(0))
    began = sum((counts_since(replica, s, span[0]) for s in range(1, len(cells))), counts_since(replica, 0, span[0]))
    costs = [sides(replica.experiment, metric, began) for metric in metrics]
    return lambda: tuple(
        lift_of(metric, "", summed, counts, span, cost) for metric, cost in zip(metrics, costs, strict=True)
    )


def _metrics(experiment: Experiment) -> list[Metric]:
    """Those in use, the primary one first."""
    return sorted((m for m in experiment.metrics if m.live), key=lambda m: not m.primary)


def sample_ratio(replica: Replica) -> SampleRatio | None:
    """Whether as many are held out as should be; None where there is no holdout."""
    expected, cells = replica.experiment.holdout_share, replica.state.subjects.lift
    held, free = (cells[:, group, 0].sum(axis=0).astype(np.float64) for group in (HELD, POLICY))
    if not expected or not (held + free).any():
        return None
    p = effect.share_p(held, held + free, expected)
    return SampleRatio(expected, float(held.sum() / (held + free).sum()), p, p < MISMATCH)


def lift_of(
    metric: Metric, segment: str, cells: Ints, counts: Ints, span: tuple[int, int], costs: tuple[float, float]
) -> Lift:
    """cells i8[2, 1 + metrics, 256]; counts [arms, .] of the same segments, over all time; span: from and to, ms.

    costs are the mean ones of a trial of policy and holdout (costs.py).
    """
    both = cells[[POLICY, HELD]]
    trials, total = both[:, 0], (both[:, 1 + metric.number] * metric.unit).astype(np.float64)
    sums = effect.Sums(trials.astype(np.float64), total)
    known, why = effect.known(sums), _lacking(sums)
    if any(costs):
        total = total - np.array(costs)[:, None] * trials
        sums = sums._replace(total=total)
    found = effect.compare(sums, _usual(counts, metric)) if known else effect.NONE
    policy, held = (int(n) for n in trials.sum(axis=1))
    buckets = None
    if not segment:
        buckets = BucketSums(trials[0].tolist(), total[0].tolist(), trials[1].tolist(), total[1].tolist())
    return Lift(
        metric=metric.id, segment=segment, policy_trials=policy, policy_reward_sum=float(total[0].sum()),
        holdout_trials=held, holdout_reward_sum=float(total[1].sum()), too_early="" if known else why,
        difference=found.difference, standard_error=found.error, low=found.low, high=found.high,
        relative=found.relative, relative_standard_error=found.relative_error, relative_low=found.relative_low,
        relative_high=found.relative_high, p_value=found.p, fixed_low=found.fixed_low, fixed_high=found.fixed_high,
        incremental=found.difference * policy, incremental_standard_error=found.error * policy,
        from_ms=span[0], to_ms=span[1], buckets=buckets,
    )  # fmt: skip


def _from(replica: Replica) -> int:
    """When counting began: with the holdout as it is, else with the first decision, to the time bucket."""
    state = replica.state
    return state.subjects.since_ms or (state.buckets[0].start if state.buckets else 0)


def _usual(counts: Ints, metric: Metric) -> float:
    """The square of a usual reward, of policy and holdout together."""
    total = counts.sum(axis=0)
    n = rewarded = squares = 0.0
    for group in (POLICY, HELD):
        at = count_offset(metric.number, group)
        n, rewarded = n + float(total[group]), rewarded + float(total[at + REWARDED])
        squares += (float(total[at + SQUARE_HIGH]) * 2.0**32 + float(total[at + SQUARE_LOW])) * metric.unit**2
    return effect.usual(n, rewarded, squares)


def _lacking(sums: effect.Sums) -> str:
    side = "the policy" if (sums.total[0] != 0.0).sum() < (sums.total[1] != 0.0).sum() else "the holdout"
    return f"rewards came from {effect.earning(sums)} groups of subjects in {side}, {effect.BUCKETS} are needed"


def headline(experiment: Experiment, all_lifts: tuple[Lift, ...], ratio: SampleRatio | None) -> str:
    """The primary metric's lift in one sentence."""
    if not experiment.holdout_share and not all_lifts:
        return (
            "Nobody can say what the policy is worth: there is no holdout. "
            f"`holdout: {{share: {SUGGESTED:g}}}` would tell."
        )
    over = "an even split" if experiment.holdout_uniform else "the default"
    if not all_lifts or all_lifts[0].too_early:
        why = all_lifts[0].too_early if all_lifts else "nobody of the holdout has come yet"
        return f"It is too early to say what the policy is worth over {over}: {why}."
    said = _said(all_lifts[0], over)
    if ratio is not None and ratio.mismatch:
        said += (
            f" Do not trust it yet: the holdout has {ratio.observed:.1%} of the trials, where {ratio.expected:.1%} of the "
            "subjects are in it."
        )
    return said


def _said(lift: Lift, over: str) -> str:
    relative = math.isfinite(lift.relative_low) and math.isfinite(lift.relative_high)
    if relative:
        best, low, high = (percent(v) for v in (lift.relative, lift.relative_low, lift.relative_high))
        what = lift.metric
    else:
        best, low, high = (f"{v:+.4g}" for v in (lift.difference, lift.low, lift.high))
        what = f"{lift.metric} a trial"
    end = "safe to look at any time."
    if lift.low <= 0.0 <= lift.high:
        return f"No difference is shown yet: {best} {what} over {over}, between {low} and {high}; {end}"
    return f"{best} {what} over {over}, between {low} and {high}; {end}"


def percent(share: float) -> str:
    """+12 %, -3.4 %: with a decimal below ten."""
    value = 100.0 * share
    return f"{value:+.1f} %" if abs(value) < 9.95 else f"{value:+,.0f} %"
