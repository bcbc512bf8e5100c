"""What guardrails have seen of each arm: its estimate, whether it is too early to say, and what they would pause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.cells import HELD, POLICY, REWARDED, SQUARE_HIGH, SQUARE_LOW, count_offset
from bandits.guarded import DRAWN, HOLDOUT, OWN, TRIALS
from bandits.guardrail import Bound, Evidence, Judged, Kind, earner, judge, level, suspects
from service.analysis.costs import costs_of, sides
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.experiment.spec import GuardrailSpec
from service.learning.replica import Replica

HOLDING, EARLY, PAUSED = "holding", "too early", "paused"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GuardrailReport:
    """A guardrail and an arm; the fields are those of the message (experiment.proto)."""

    metric: str
    kind: str
    limit: float
    arm: str
    state: str
    trials: int
    estimate: float
    low: float
    high: float
    level: float
    paused_since_ms: int


@dataclass(frozen=True, slots=True)
class Harm:
    """An arm that is beyond a guardrail."""

    arm: str
    guardrail: GuardrailSpec
    why: str


def harms(replica: Replica) -> list[Harm]:
    """The arms that have to be paused now, each once. Cheap where no arm's mean is beyond a guardrail, as is usual."""
    experiment = replica.experiment
    if not experiment.guardrails or experiment.state != "active":
        return []
    found: dict[str, Harm] = {}
    counts: Ints | None = None
    for guardrail in experiment.guardrails:
        metric, bound = _of(experiment, guardrail)
        means = _means(replica, metric)
        for arm in np.flatnonzero(suspects(bound, *means)):
            one = experiment.arms[arm]
            if one.state != "active" or arm == experiment.default_arm or one.id in found:
                continue
            counts = _counts(replica) if counts is None else counts
            judged = judge(bound, _evidence(replica, metric, bound, int(arm), counts), error(experiment))
            if judged.harm:
                why = said(guardrail, judged, trials(replica, int(arm)), error(experiment))
                found[one.id] = Harm(one.id, guardrail, why)
    return list(found.values())


def reports(replica: Replica) -> tuple[GuardrailReport, ...]:
    """Every guardrail with every arm that may be drawn or that a guardrail paused, but the default arm."""
    experiment = replica.experiment
    counts = _counts(replica) if experiment.guardrails else None
    return () if counts is None else tuple(_reports(replica, counts))


def error(experiment: Experiment) -> float:
    """How often an interval may miss: arms and guardrails share it."""
    return level(len(experiment.arms) - 1, len(experiment.guardrails))


def trials(replica: Replica, arm: int) -> int:
    """The policy's trials of an arm that guardrails count."""
    return int(replica.state.guarded.cells[arm, OWN, TRIALS].sum())


def said(guardrail: GuardrailSpec, judged: Judged, shown: int, miss: float) -> str:
    """The figures, for people."""
    sure, beside = f"{1.0 - miss:.6g}", "" if guardrail.kind == Kind.MOST.value else " of the holdout"
    form = "{:.4g}" if guardrail.kind == Kind.MOST.value else "{:+.1%}"
    estimate, low, high = (form.format(value) for value in judged[:3])
    return (
        f"{guardrail.metric} {estimate}{beside} over {shown:,} trials, surely ({sure}, at any time) between {low} and {high}; "
        f"{guardrail.kind} is {guardrail.limit:g}"
    )


def _reports(replica: Replica, counts: Ints) -> Iterator[GuardrailReport]:
    experiment = replica.experiment
    for guardrail in experiment.guardrails:
        metric, bound = _of(experiment, guardrail)
        for arm in experiment.arms:
            pause = experiment.pauses.paused.get(arm.id)
            if arm.number == experiment.default_arm or (arm.state != "active" and pause is None):
                continue
            judged = judge(bound, _evidence(replica, metric, bound, arm.number, counts), error(experiment))
            this = pause is not None and (pause.metric, pause.kind) == (guardrail.metric, guardrail.kind)
            state = PAUSED if this else EARLY if judged.early else HOLDING
            yield GuardrailReport(
                guardrail.metric, guardrail.kind, guardrail.limit, arm.id, state, trials(replica, arm.number),
                judged.estimate, judged.low, judged.high, 1.0 - error(experiment),
                pause.since_ms if pause is not None else 0,
            )  # fmt: skip


def _of(experiment: Experiment, guardrail: GuardrailSpec) -> tuple[Metric, Bound]:
    return experiment.metrics[experiment.metric_numbers[guardrail.metric]], Bound(Kind(guardrail.kind), guardrail.limit)


def _counts(replica: Replica) -> Ints:
    """[arms, .] over all segments and time."""
    return sum((replica.state.lifetime(s) for s in range(1, replica.state.rules.segments)), replica.state.lifetime(0))


def _means(replica: Replica, metric: Metric) -> tuple[Floats, Floats, Floats]:
    """f8[arms] each: mean of a trial, own, drawn and of the holdout; nan without trials."""
    guarded, experiment = replica.state.guarded, replica.experiment
    own, drawn, held = (guarded.means(side, metric.number) * metric.unit for side in (OWN, DRAWN, HOLDOUT))
    costs = costs_of(experiment, metric)
    if not costs.any():
        return own, drawn, held
    return own - costs, drawn - costs, held - sides(experiment, metric, _counts(replica))[1]


def _evidence(replica: Replica, metric: Metric, bound: Bound, arm: int, counts: Ints) -> Evidence:
    guarded, unit = replica.state.guarded, metric.unit
    weight, total, squares = guarded.pair(arm, OWN if bound.kind is Kind.MOST else DRAWN, metric.number)
    group = HELD if earner(bound) else POLICY
    of = counts.sum(axis=0) if group == HELD else counts[arm]
    at = count_offset(metric.number, group)
    n, rewarded = float(of[group]), float(of[at + REWARDED])
    square = (float(of[at + SQUARE_HIGH]) * 2.0**32 + float(of[at + SQUARE_LOW])) * unit**2
    costs = float(costs_of(replica.experiment, metric)[arm]), sides(replica.experiment, metric, counts)[1]
    return Evidence(weight, total * unit, squares, effect.usual(n, rewarded, square), rewarded / max(n, 1.0), costs)
