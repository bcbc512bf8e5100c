"""Why a visitor gets an arm: the odds, the beliefs, and what each feature adds, in the user's own names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import explanation
from bandits.layout import HOLDOUT, UNCOUNTED, UNDRAWN
from bandits.posterior import Kind
from bandits.summary import Span, net
from bandits.within import inside
from service.errors import InvalidError
from service.experiment.features.column import Value
from service.experiment.metric import Metric
from service.serving.personalizer import Reason, full_vector
from service.serving.published import Published
from service.serving.snapshot import Slot, Snapshot, span_of
from service.serving.store_clock import StoreClock
from service.serving.token import Opened, TokenKeys, from_text

SMALL = 1e-9  # in units of the metric's scale: what adds less is not told


@dataclass(frozen=True, slots=True)
class Part:
    """What one feature, or two together, add to an arm's mean here, against the average visitor.

    No features: what combinations that this visitor does not have take away, and what the metric's range cuts off.
    """

    features: tuple[str, ...]
    effect: float


@dataclass(frozen=True, slots=True)
class ArmReasons:
    """Of one eligible arm, in the metric's unit and inside its range; `base` is its mean for the average visitor.

    None: nothing is believed, or nobody draws. The mean's 95 % interval is from `low` to `high`.
    """

    arm: str
    probability: float | None
    mean: float | None = None
    deviation: float | None = None
    base: float | None = None
    parts: tuple[Part, ...] = ()  # the largest first
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Reasons:
    """Beliefs are those of now, and `served` is who all get that now, "" where the policy draws.

    `arm` and `propensity` are of the decision when it was made, "" and 0 without one.
    """

    experiment: str
    version: int
    segment: str
    reason: Reason
    arms: tuple[ArmReasons, ...]
    arm: str = ""
    propensity: float = 0.0
    at_ms: int = 0
    served: str = ""


class Explainer:
    """Explains choices from what is published; for any thread, off the hot path."""

    def __init__(self, directory: Published, keys: TokenKeys, clock: StoreClock) -> None:
        self._directory = directory
        self._keys = keys
        self._clock = clock

    def context(self, name: str, context: Mapping[str, Value]) -> Reasons:
        """Why a visitor of this context would get what it would. NotFoundError, InvalidError."""
        snapshot = self._directory.named(name)
        exp = snapshot.experiment
        segment = exp.segments.match(context)
        reason, served = self._now(snapshot, segment)
        arms = _arms(snapshot, segment, full_vector(exp.encoder.encode(context).x), draws=not served)
        return Reasons(exp.name, exp.version, exp.segments.ids[segment], reason, arms, served=served)

    def decision(self, name: str, decision_id: str) -> Reasons:
        """The same of a decision that was made, of the experiment `name` or, where that is "", of its own."""
        token = self._keys.open(from_text(decision_id))
        snapshot = self._directory.known(token.uid)
        exp = snapshot.experiment
        if name not in ("", exp.name):
            raise InvalidError.field("decision_id", f"is of the experiment {exp.name!r}")
        _, served = self._now(snapshot, token.segment)
        arms = _arms(snapshot, token.segment, full_vector(token.x), draws=not served)
        return Reasons(
            exp.name, token.version, exp.segments.ids[token.segment], _reason(token, snapshot), arms,
            exp.arms[token.arm].id, token.propensity, token.time, served,
        )  # fmt: skip

    def _now(self, snapshot: Snapshot, segment: int) -> tuple[Reason, str]:
        """Why somebody of the segment gets an arm now, and which one where all get the same."""
        exp = snapshot.experiment
        if not exp.live(self._clock.now_ms()):
            return Reason.INACTIVE, exp.arms[snapshot.after(segment)].id
        if not exp.segments.draws(segment):
            return Reason.SEGMENT_DEFAULT, exp.arms[exp.default_arm].id
        if len(snapshot.slots[segment].arms) == 0:
            return Reason.NO_ELIGIBLE_ARM, exp.arms[exp.default_arm].id
        return Reason.POLICY, ""


def _reason(token: Opened, snapshot: Snapshot) -> Reason:
    """As far as a decision id says it."""
    if token.flags & HOLDOUT:
        return Reason.HOLDOUT
    if not token.flags & UNDRAWN:
        return Reason.UNCOUNTED if token.flags & UNCOUNTED else Reason.POLICY
    if token.flags & UNCOUNTED:
        return Reason.INACTIVE
    serves = snapshot.experiment.segments.serves_default[token.segment]
    return Reason.SEGMENT_DEFAULT if serves else Reason.NO_ELIGIBLE_ARM


def _arms(snapshot: Snapshot, segment: int, x: NDArray[np.int16], draws: bool) -> tuple[ArmReasons, ...]:
    """Every eligible arm, the most probable first; none where the segment has no policy."""
    exp, slot = snapshot.experiment, snapshot.slots[segment]
    if len(slot.arms) == 0 or not exp.segments.draws(segment):
        return ()
    found = _in_unit(exp.primary, slot, explanation.explain(slot.posterior, x, slot.mean, slot.arms))
    span = net(slot.seen, span_of(exp.primary))
    span = Span(span.low * exp.primary.scale, span.high * exp.primary.scale, span.binary)
    said = inside(found.mean, found.deviation, span)
    base = np.clip(found.base, span.low, span.high)
    names = [column.feature for column in exp.numbers.columns]
    made = []
    for at in np.argsort(-found.probability, kind="stable").tolist():
        arm = int(slot.arms[at])
        probability = float(found.probability[at]) if draws else None
        if np.isnan(found.mean[at]) or not slot.tried[arm]:
            made.append(ArmReasons(exp.arms[arm].id, probability))
            continue
        mean, low, high, usual = (float(column[at]) for column in (*said, base))
        parts = _parts(names, found, at, mean - usual, SMALL * exp.primary.scale)
        made.append(
            ArmReasons(exp.arms[arm].id, probability, mean, float(found.deviation[at]), usual, parts, low, high)
        )
    return tuple(made)


def _in_unit(metric: Metric, slot: Slot, found: explanation.Explanation) -> explanation.Explanation:
    """The same in the metric's unit. Where the policy counts rewarded trials, each is worth what they are on average."""
    scale = metric.scale
    if slot.posterior.kind == Kind.BETA and not span_of(metric).binary:
        _, rewarded, total, _ = slot.seen.slot.tolist()
        scale *= total / rewarded if rewarded else 1.0
    mean, deviation, base, main, pairs = (scale * v for v in found[1:6])
    return explanation.Explanation(found.probability, mean, deviation, base, main, pairs, found.which)


def _parts(
    names: Sequence[str], found: explanation.Explanation, at: int, whole: float, small: float
) -> tuple[Part, ...]:
    """What adds up to `whole`, the largest first; what adds less than `small` is not told."""
    effects = _effects(names, found, at)
    rest = whole - math.fsum(effects.values())
    effects[()] = effects.get((), 0.0) + rest
    return tuple(
        Part(features, effect)
        for features, effect in sorted(effects.items(), key=lambda item: -abs(item[1]))
        if abs(effect) > small
    )


def _effects(names: Sequence[str], found: explanation.Explanation, at: int) -> dict[tuple[str, ...], float]:
    """What features and pairs of features add to the arm at this place."""
    effects: dict[tuple[str, ...], float] = {}
    for column, effect in enumerate(found.main[at].tolist()):
        if column:  # the constant adds nothing
            effects[(names[column],)] = effects.get((names[column],), 0.0) + effect
    for (left, right), effect in zip(found.which.tolist(), found.pairs[at].tolist(), strict=True):
        pair = tuple(dict.fromkeys((names[left], names[right]))) if left >= 0 else ()
        effects[pair] = effects.get(pair, 0.0) + effect
    return effects
