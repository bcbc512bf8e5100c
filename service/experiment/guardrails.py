"""Guardrails: what an arm may do to a metric before it is paused; and which arms are, since when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from bandits.guarded import bits_dropped
from service.experiment.spec import MAX_GUARDRAILS, ArmSpec, GuardrailSpec, Kept, MetricSpec
from service.text.fields import Fields

if TYPE_CHECKING:
    from service.experiment.compiled import Experiment

# Each with the range of its limit; max is bounded by its metric.
KINDS: dict[str, tuple[float, float]] = {"max": (0.0, 1e12), "max_drop": (0.0, 0.99), "max_rise": (0.0, 100.0)}


def read_guardrails(
    fields: Fields, metrics: Sequence[MetricSpec], holdout: float, arms: Sequence[ArmSpec]
) -> list[GuardrailSpec]:
    """The guardrails in the order of the file; `holdout` is the holdout's share."""
    found: list[GuardrailSpec] = []
    known = {metric.id: metric for metric in metrics}
    for path, item in fields.items("guardrails"):
        part = Fields(fields.problems, path, item)
        one = _guardrail(part, known, holdout)
        if one is None:
            continue
        if any((one.metric, one.kind) == (other.metric, other.kind) for other in found):
            part.add(one.kind, f'given twice for the metric "{one.metric}"')
        if one.kind == "max" and known[one.metric].primary and any(arm.cost for arm in arms):
            part.add(
                "max", f'"{one.metric}" is without what the arms cost, which may be more than it earns; use max_drop'
            )
        found.append(one)
    if len(found) > MAX_GUARDRAILS:
        fields.add("guardrails", f"{len(found)} guardrails are too many, at most {MAX_GUARDRAILS}")
    return found


def _guardrail(fields: Fields, metrics: dict[str, MetricSpec], holdout: float) -> GuardrailSpec | None:
    metric_id = fields.ident("metric", required=True)
    limits = {kind: fields.number(kind, *bounds) for kind, bounds in KINDS.items()}
    given = [kind for kind in KINDS if fields.has(kind)]
    fields.done()
    if metric_id is not None and fields.fine("metric") and metric_id not in metrics:
        fields.add("metric", f'there is no metric "{metric_id}"; declared: {", ".join(metrics)}')
    if len(given) != 1 and fields.readable:
        fields.problems.add(fields.path, f"needs exactly one of {', '.join(KINDS)}")
        return None
    if not given or metric_id not in metrics or limits[given[0]] is None:
        return None
    one = GuardrailSpec(metric_id, given[0], limits[given[0]] or 0.0)
    if one.kind == "max":
        _check_max(fields, one, metrics[metric_id])
    elif not holdout:
        fields.add(one.kind, "compares with the holdout, and there is none: `holdout: {share: 0.05}`")
    return one


def _check_max(fields: Fields, one: GuardrailSpec, metric: MetricSpec) -> None:
    """A mean that can be judged while rewards may still come: they only ever raise it."""
    if one.limit <= 0.0:
        fields.add("max", "must be above 0")
    elif metric.min < 0.0:
        fields.add("max", f'the metric "{metric.id}" may be negative: what has not come yet may lower it; use max_rise')
    elif metric.aggregate != "sum" and one.limit >= metric.max:
        fields.add("max", f'can never be exceeded: the metric "{metric.id}" is at most {metric.max:g}')


class Pause(Kept, frozen=True):
    """Since when an arm is paused by a guardrail, ms, and by which: its metric and kind."""

    since_ms: int
    metric: str
    kind: str


class Pauses(Kept, frozen=True):
    """Arms that guardrails paused and nobody has made active again, by id; `resumed`: those that this version did."""

    paused: dict[str, Pause] = msgspec.field(default_factory=dict)
    resumed: tuple[str, ...] = ()

    def carried(self, new: Mapping[str, Pause], arms: Sequence[ArmSpec]) -> Pauses:
        """Those of the next version, which adds `new` and whose arms these are."""
        states = {arm.id: arm.state for arm in arms}
        paused = {arm: pause for arm, pause in {**self.paused, **new}.items() if states.get(arm) == "paused"}
        return Pauses(paused, tuple(arm for arm in self.paused if states.get(arm) == "active"))

    @property
    def warnings(self) -> Iterator[str]:
        """A sentence for each arm that is paused, or active again."""
        for arm, pause in self.paused.items():
            yield (
                f"arms: {arm!r} is paused by its guardrail on {pause.metric!r}; `state: active` beside its id makes it active again"
            )
        for arm in self.resumed:
            yield f"arms: {arm!r} was paused by a guardrail and is active again; what it did before no longer counts"


def guarded(experiment: Experiment) -> tuple[int, ...]:
    """What sums for guardrails need to know of each metric (bandits/state.py); none where there are no guardrails."""
    return tuple(bits_dropped(metric.limit) for metric in experiment.metrics) if experiment.guardrails else ()
